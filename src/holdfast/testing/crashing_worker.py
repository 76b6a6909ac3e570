"""A real worker that dies by SIGKILL at a named point of its work.

``python -m holdfast.testing.crashing_worker <trace> [<point>]`` stands in for ``holdfast.engine.worker``; for the
arguments see :class:`holdfast.testing.kill_points.KillPoints`. Points lie before and after each request, and wherever a
job asks whether it was cancelled: again and again, on its way through the trees.
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.domain.operation import Progress
from holdfast.engine.job import Job
from holdfast.engine.jobs import Engine
from holdfast.engine.requests import AnyRequest, WorkerSettings
from holdfast.engine.worker import Handler, run
from holdfast.testing.kill_points import KillPoints


class CrashingJob:
    """A job with a point wherever it is asked."""

    def __init__(self, job: Job, points: KillPoints, what: str) -> None:
        self._job, self._points, self._what = job, points, what

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._job.progress(progress)

    def check(self) -> None:
        """Die here, or ask."""
        self._points.reach(f"during {self._what}")
        self._job.check()


def crashing(points: KillPoints, settings: WorkerSettings) -> Handler:
    """A handler with points around and in each request."""
    engine = Engine(settings)

    def handle(request: AnyRequest, job: Job) -> object:
        what = str(request.__struct_config__.tag)
        points.reach(f"before {what}")
        result = engine.handle(request, CrashingJob(job, points, what))
        points.reach(f"after {what}")
        return result

    return handle


if __name__ == "__main__":
    trace, *point = sys.argv[1:]
    at_points = KillPoints(Path(trace), point[0] if point else None, armed=True)
    run(lambda settings: crashing(at_points, settings))
