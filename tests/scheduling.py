"""Which worker runs which test: those that wait run beside those that compute, instead of before them.

A test with real containers leaves the processor idle most of the time; most others wait for nothing else. So every
second worker begins with the former, the rest with the latter, and whoever has ended its own kind helps the others.
"""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

_WAITING = "tests/integration/"


class Mixed(LoadGroupScheduling):  # type: ignore[misc]
    """Work by group, as with ``--dist loadgroup``, of the worker's own kind as long as there is any."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        waits = self.nodes.index(node) % 2 == 0
        own = next((group for group, tests in self.workqueue.items() if _waits(tests) is waits), None)
        if own is not None:
            self.workqueue.move_to_end(own, last=False)
        super()._assign_work_unit(node)


def _waits(tests: dict[str, bool]) -> bool:
    return next(iter(tests)).startswith(_WAITING)
