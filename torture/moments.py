"""Waiting for the moment of a kill, and knowing how far things had got by then."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torture.machine import Machine
from torture.plan import Moment, Sign, Victim

_RECORD: Final = re.compile(rb'"type":"([A-Z]+)"')
_TICK: Final = 0.001
_ASK: Final = 0.008
"""Seconds between two looks at the operation; the journal is looked at in each tick."""
_PATIENCE: Final = 60.0
"""Seconds after which a sign that does not come is not waited for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far an operation had got at the moment of a kill.

    Attributes:
        step: the last step that it had entered.
        record: the last record in the journal of a restore; empty if there is none.
        over: whether it had ended.
    """

    step: str
    record: str
    over: bool

    def __str__(self) -> str:
        return f"{self.step or 'requested'}{f'/{self.record}' if self.record else ''}{', ended' if self.over else ''}"


class Watch:
    """Follows an operation and the journals from the moment that the operation was asked for."""

    def __init__(self, machine: Machine, operation_id: str) -> None:
        self._machine = machine
        self._operation_id = operation_id
        self._journals = machine.settings.journal_dir
        self._began = time.monotonic()
        self._asked = 0.0
        self._steps: list[str] = []
        self._over = False

    def wait(self, moment: Moment, victim: Victim) -> Seen:
        """Return at the moment; at once if the operation ends before its sign. A worker to be killed is waited for."""
        since = self._began if moment.sign.kind == "request" else self._sign(moment.sign)
        while time.monotonic() < since + moment.seconds:
            time.sleep(_TICK)
        if victim is Victim.WORKER:
            while not self._machine.workers() and not self._ended():
                self._look()
        self._asked = 0.0
        self._look()
        found = records(self._journals)
        return Seen(step=self._steps[-1] if self._steps else "", record=found[-1] if found else "", over=self._ended())

    def _sign(self, sign: Sign) -> float:
        """Wait for a sign, or the operation's end. Returns when that was."""
        while time.monotonic() < self._began + _PATIENCE and not self._ended():
            if sign.name in (records(self._journals) if sign.kind == "record" else self._steps):
                break
            self._look()
            time.sleep(_TICK)
        return time.monotonic()

    def _ended(self) -> bool:
        return self._over

    def _look(self) -> None:
        """Ask how the operation stands, unless that was asked a moment ago."""
        if time.monotonic() < self._asked + _ASK:
            return
        operation = self._machine.operation(self._operation_id)
        self._steps = [step["name"] for step in operation["steps"]]
        self._over = operation["state"] not in ("queued", "running")
        self._asked = time.monotonic()


def records(journals: Path) -> list[str]:
    """The types of all records in the journals, of which there is at most one that is not over."""
    found: list[str] = []
    for path in sorted(journals.glob("*.journal")):
        try:
            found += [name.decode() for name in _RECORD.findall(path.read_bytes())]
        except FileNotFoundError:
            continue  # its restore has just ended
    return found
