"""Showing an operation while it runs: a bar on a terminal, plain lines elsewhere. Both write to stderr."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, Self

from holdfast.cli.output import Output, shown
from holdfast.domain.units import format_size

if TYPE_CHECKING:
    from types import TracebackType


class ProgressDisplay(AbstractContextManager["ProgressDisplay"], Protocol):
    """Shows each state of an operation in turn."""

    def show(self, operation: Mapping[str, Any]) -> None:
        """Show this state."""

    def paused(self) -> AbstractContextManager[object]:
        """Keep the screen quiet, for a question."""


class PlainProgress:
    """One line for each step, each reason to wait and each entry of the log."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._steps = 0
        self._lines = 0
        self._waiting = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""

    def paused(self) -> AbstractContextManager[object]:
        """It is quiet anyway."""
        return nullcontext()

    def show(self, operation: Mapping[str, Any]) -> None:
        """Write what is new."""
        waiting = operation["waiting_for"]
        if waiting and waiting != self._waiting:
            self._output.note(waiting)
        self._waiting = waiting
        for step in operation["steps"][self._steps :]:
            self._output.note(f"step: {step['name']}")
        for line in operation["log"][self._lines :]:
            self._output.note(f"  {line['message']}")
        self._steps = max(self._steps, len(operation["steps"]))
        self._lines = max(self._lines, len(operation["log"]))


class TerminalProgress:
    """The present step with a bar, a rate and the time left; the log above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task("waiting", total=None, amount="")
        self._step = ""
        self._lines = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def paused(self) -> AbstractContextManager[object]:
        """Take the bar away while somebody is asked."""
        return _Paused(self)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def start(self) -> None:
        """Show the bar."""
        self._progress.start()

    def show(self, operation: Mapping[str, Any]) -> None:
        """Draw this state."""
        for line in operation["log"][self._lines :]:
            self._console.print(shown(line["message"]))
        self._lines = max(self._lines, len(operation["log"]))
        steps, progress = operation["steps"], operation["progress"]
        step = operation["waiting_for"] or (steps[-1]["name"] if steps else operation["state"])
        if step != self._step:
            self._step = step
            self._progress.reset(self._task, total=None)
        total = progress["total_bytes"] or progress["total_files"]
        done = progress["done_bytes"] if progress["total_bytes"] else progress["done_files"]
        self._progress.update(
            self._task,
            description=shown(step),
            total=total,
            completed=done,
            amount=self._amount(progress),
        )

    def _amount(self, progress: Mapping[str, Any]) -> str:
        done, total = progress["done_bytes"], progress["total_bytes"]
        if not done and not total:
            return shown(progress["note"])
        speed = self._progress.tasks[0].speed if progress["total_bytes"] else None
        rate = f", {format_size(int(speed))}/s" if speed else ""
        return format_size(done) + (f" of {format_size(total)}" if total else "") + rate


class _Paused(AbstractContextManager[None]):
    def __init__(self, progress: TerminalProgress) -> None:
        self._progress = progress

    def __enter__(self) -> None:
        self._progress.stop()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.start()


def display_for(output: Output) -> ProgressDisplay:
    """The display that fits where the messages go."""
    return TerminalProgress() if output.is_terminal else PlainProgress(output)
