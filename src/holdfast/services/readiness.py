"""Whether Holdfast can do its work right now, and what it waits for if not."""

from __future__ import annotations

from holdfast.services.restore_registry import RestoreRegistry


class Readiness:
    """Told by the parts that start late; asked by ``/readyz``."""

    def __init__(self, registry: RestoreRegistry) -> None:
        self._registry = registry
        self._waiting: dict[str, str] = {}

    def wait_for(self, part: str, why: str) -> None:
        """``part`` is not there yet; ``why`` in words."""
        self._waiting[part] = why

    def arrived(self, part: str) -> None:
        """``part`` is there."""
        self._waiting.pop(part, None)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether everything is there; and what is waited for, people's decisions included."""
        waiting = list(self._waiting.values())
        decisions = [f"a decision about a restore: {item.why}" for item in self._registry.all_undecided()]
        return not waiting, waiting + decisions + list(self._registry.notices())
