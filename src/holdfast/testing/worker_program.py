"""A worker that does what it is told by the id of the snapshot that it is to verify: hang, die, fail, or behave.

``python -m holdfast.testing.worker_program`` stands in for ``holdfast.engine.worker``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from holdfast.domain.errors import Failed, NoSpace, Problem, Refused
from holdfast.domain.operation import Progress
from holdfast.engine.job import Job
from holdfast.engine.requests import AnyRequest, VerifyRequest, WorkerSettings
from holdfast.engine.worker import Handler, run

REFUSAL = Refused(
    [
        Problem(code="one", message="One.", next_step="Mend one.", details={"path": "/srv/one"}),
        Problem(code="two", message="Two."),
    ]
)
"""What ``refuse`` raises."""


def make_handler(settings: WorkerSettings) -> Handler:
    """A handler; the name of the data directory can keep it from getting ready."""
    name = Path(settings.stores.archives_dir).parent.name
    if name == "unusable":
        raise Failed("root_unusable", "The root can't be opened.", next_step="Mount it.")
    if name == "dies":
        os._exit(9)
    return _handle


def _handle(request: AnyRequest, job: Job) -> object:
    assert isinstance(request, VerifyRequest)
    match request.snapshot_id.split(":"):
        case ["say", *words]:
            return words
        case ["pid"]:
            return [str(os.getpid())]
        case ["lock", fd]:
            return [os.readlink(f"/proc/self/fd/{fd}")]
        case ["print"]:
            os.write(1, b"not a message\n")
            return ["printed"]
        case ["much"]:
            return ["x" * 1_000_000]
        case ["report"]:
            for number in range(100_000):
                job.progress(Progress(done_files=number, note="reporting"))
            return []
        case ["refuse"]:
            raise REFUSAL
        case ["full"]:
            raise NoSpace("no_space", "Full.", next_step="Free some.", details={"odd": {1, 2}.__class__})
        case ["stumble"]:
            raise KeyError("a secret")
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["exit"]:
            sys.stderr.write("last words\n")
            sys.stderr.flush()
            os._exit(7)
        case ["wait"]:
            job.progress(Progress(note="waiting"))
            while True:
                job.check()
                time.sleep(0.005)
        case _:
            job.progress(Progress(note="hanging"))
            threading.Event().wait()
    raise AssertionError(request.snapshot_id)


if __name__ == "__main__":
    run(make_handler)
