"""Watching an operation to its end: through lost connections, and with a way out at Ctrl-C.

Watching never changes the operation: to stop watching leaves it running on the server, and only an explicit answer
cancels it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from holdfast.cli import exit_codes
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.output import Output, log_lines
from holdfast.cli.progress import ProgressDisplay, display_for
from holdfast.cli.session import Session
from holdfast.domain.errors import Conflict, Failed, Unavailable
from holdfast.domain.operation import OperationState
from holdfast.domain.units import format_duration

if TYPE_CHECKING:
    from holdfast.cli.client import Client

_PAUSES: Final = (0.2, 1.0, 2.0, 5.0, 5.0, 10.0, 10.0, 30.0)
"""Seconds before each new attempt; together longer than a restart of the server takes."""


class Watcher:
    """Watches operations.

    Args:
        pause: waits the given seconds before another attempt to connect.
        ask: puts a question to the person at the terminal.
    """

    def __init__(
        self,
        client: Client,
        output: Output,
        *,
        pause: Callable[[float], object] = time.sleep,
        ask: Callable[[str], str] | None = None,
    ) -> None:
        self._client = client
        self._output = output
        self._pause = pause
        self._ask = ask or _ask

    def watch(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Show the operation until it has ended; the operation as it then stands.

        Raises:
            typer.Exit: the person stopped watching (130).
            Unavailable: the server did not come back.
        """
        with display_for(self._output) as display:
            display.show(operation)
            while not ended(operation):
                try:
                    operation = self._follow(operation, display)
                except KeyboardInterrupt:
                    with display.paused():
                        self._interrupted(operation)
        return operation

    def _follow(self, operation: dict[str, Any], display: ProgressDisplay) -> dict[str, Any]:
        """Until the end, or until there is no hope of a connection."""
        attempts = iter(_PAUSES)
        while True:
            try:
                with self._client.events(f"/api/operations/{operation['id']}/events") as events:
                    for name, document in events:
                        if name == "operation":
                            operation = document
                            display.show(operation)
                            attempts = iter(_PAUSES)
                lost = Unavailable("connection_lost", "The connection ended before the operation did.")
            except Unavailable as error:
                lost = error
            if ended(operation):
                return operation
            seconds = next(attempts, None)
            if seconds is None:
                raise Unavailable(
                    lost.code,
                    f"{lost.message} The operation {operation['id']} may still be running.",
                    next_step=f"When the server is back: holdfast operation watch {operation['id']}",
                ) from lost
            if seconds == _PAUSES[1]:  # the first try was not enough: somebody waits, and should know for what
                with display.paused():
                    self._output.note(f"{lost.message} Trying again; the operation goes on by itself if it can.")
            self._pause(seconds)

    def _interrupted(self, operation: dict[str, Any]) -> None:
        """Ctrl-C: stop watching, or cancel, or go on."""
        name = f"{operation['kind']} {operation['id']}"
        if self._output.is_terminal:
            answer = self._ask(f"{name}: [c]ancel it, [s]top watching, or go on (Enter)? ").strip().lower()
            if answer in ("c", "cancel"):
                self._cancel(operation["id"])
                return
            if answer not in ("s", "stop"):
                return
        self._output.note(f"Stopped watching. The operation goes on: holdfast operation watch {operation['id']}")
        raise typer.Exit(ExitCode.STOPPED)

    def _cancel(self, operation_id: str) -> None:
        try:
            self._client.send("POST", f"/api/operations/{operation_id}/cancel")
            self._output.note("Cancelling …")
        except Conflict as error:
            self._output.complain(error)


def _ask(question: str) -> str:
    return str(typer.prompt(question, default="", show_default=False, prompt_suffix="", err=True))


def ended(operation: dict[str, Any]) -> bool:
    """Whether nothing more will happen to it."""
    return OperationState(operation["state"]).ended


def follow(session: Session, operation: dict[str, Any], *, detach: bool, done: str) -> dict[str, Any]:
    """Watch an operation that was just started, tell how it ended, and leave with its exit code unless it went well.

    Args:
        done: what to say when it went well.
    """
    output = session.output
    if detach:
        output.document(operation)
        output.say(f"Started {operation['kind']} {operation['id']}.")
        output.note(f"Watch it with: holdfast operation watch {operation['id']}")
        raise typer.Exit(ExitCode.OK)
    operation = Watcher(session.client, output).watch(operation)
    conclude(output, operation, done)
    return operation


def conclude(output: Output, operation: dict[str, Any], done: str) -> None:
    """Tell how an operation ended.

    Raises:
        typer.Exit: with its exit code, unless it went well.
    """
    code = exit_codes.of_operation(operation)
    error = operation["error"]
    output.document(operation)
    if error is None or not (error.get("details") or {}).get("logs"):  # else they are part of the error
        for text in log_lines(operation["outcome"].get("instance_logs")):
            output.note(text)
    for told in unclean_stops(operation):
        output.note(f"warning: {told}.")
    if error:
        failure = Failed(
            error["code"], error["message"], next_step=error.get("next_step", ""), details=error.get("details")
        )
        output.complain(failure)
    elif operation["state"] != OperationState.SUCCEEDED:
        output.note(f"The {operation['kind']} was {operation['state']}.")
    else:
        output.say(outcome_in_words(operation) or done)
    if code is not ExitCode.OK:
        raise typer.Exit(code)


_RESULTS: Final = {
    "restored": "The data is restored and the workload is healthy on it. 'holdfast undo' takes it back.",
    "restored_stopped": "The data is restored; the workload is stopped, as it was before. "
    "Run it with 'holdfast workload start', or 'holdfast deploy' if it never ran.",
    "restored_unhealthy": "The data is restored, but the workload is unhealthy on it: see its logs, or 'holdfast undo'",
    "restored_deploy_failed": "The data is restored, but the workload did not start. Deploy again, or 'holdfast undo'.",
    "reverted": "The workload was unhealthy on the restored data; the data from before is back, and it runs on that.",
    "reverted_unhealthy": "The data from before is back, but the workload is not healthy on it either. See its logs.",
    "needs_decision": "The workload is stopped and all data is kept: decide with 'holdfast restore-decision'.",
}


_NOTABLE: Final = 0.05
"""Seconds from which on a part of a downtime is worth a word."""

_PARTS: Final = {
    "safety": "safety snapshot",
    "compare": "comparing what was staged",
    "recheck": "last checks",
    "catch_up": "catching up",
    "gate": "health",
    "hooks": "post_restore",
    "other": "records",
}
"""How the parts of a downtime are called for people, where their name alone says too little."""


_SWAPS: Final = {
    "children": "is a mount point: what is in it was exchanged name by name",
    "children_by_renames": "is a mount point: what is in it was swapped name by name, by renames",
    "renames": "was swapped by renames, since its filesystem can't exchange two directories",
}
"""How a volume was swapped, where that was not one exchange."""


def outcome_in_words(operation: dict[str, Any]) -> str:
    """What an operation's result means; empty for operations without one."""
    outcome = operation["outcome"]
    result = outcome.get("result")
    told = _RESULTS.get(result, "") if isinstance(result, str) else ""
    if told and (source := outcome.get("cloned_from")):
        told = f"Cloned {source['name']} into {outcome['workload']}. {told}"
    if told and outcome.get("rolled_back_to"):
        told = f"Version, configuration and data are those of the deployment {outcome['rolled_back_to']}. {told}"
    if told and outcome.get("paths"):
        told += f"\nRestored were only {', '.join(outcome['paths'])}; all else stayed as it was at the stop."
    if told and (swaps := outcome.get("swaps")):
        told += "".join(f"\n{target} {_SWAPS[way]}." for target, way in swaps.items() if way in _SWAPS)
    if told and outcome.get("image_note"):
        told += f"\n{outcome['image_note']}"
    if told and "downtime_seconds" in outcome and outcome.get("image_before", "unknown") is not None:
        told += f"\nDowntime: {format_duration(outcome['downtime_seconds'])}{_parts(outcome.get('seconds', {}))}."
    if told and outcome.get("safety_snapshot_id"):
        told += f" The data from before is in the safety snapshot {outcome['safety_snapshot_id']}, pinned."
    return told


def unclean_stops(operation: dict[str, Any]) -> list[str]:
    """What an operation stopped and what did not end well, in words."""
    return [str(stop["words"]) for stop in operation["outcome"].get("unclean_stops", [])]


def _parts(seconds: dict[str, float]) -> str:
    """What a downtime was spent on, in brackets, without what took no time to speak of."""
    told = [f"{_PARTS.get(part, part)} {format_duration(took)}" for part, took in seconds.items() if took >= _NOTABLE]
    return f" ({', '.join(told)})" if told else ""
