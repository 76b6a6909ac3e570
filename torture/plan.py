"""What each round does, derived from the seed and its number alone, so that any round can be replayed by itself.

Pure. Rounds come in blocks on one layout of filesystems. Within two blocks of the same layout every action meets every
victim once, in an order that the seed gives; the moment of the kill, and whether it is killed again while it recovers,
are drawn for each round.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final

BLOCK: Final = 14
"""Rounds on one layout, before a new one is made."""
ITSELF: Final = "-itself"
"""After a filesystem's name: the volume on it is the mount point itself, so that nothing can be exchanged beside it."""
LAYOUTS: Final = (
    ("ext4",),
    ("xfs", "ext4"),
    ("btrfs",),
    ("xfs",),
    ("ext4", "btrfs"),
    ("ext4", f"xfs{ITSELF}"),
    ("xfs", f"btrfs{ITSELF}"),
)
"""On which filesystems the two volumes lie: both on the same one, or each on its own."""
LONGEST_JITTER: Final = 0.06
"""Seconds from a sign to the kill, at most: long enough to get anywhere within the step that it announces."""
LONGEST_RECOVERY: Final = 2.5
"""Seconds from the start of a server that recovers to the second kill."""


class Action(StrEnum):
    DEPLOY = "deploy"
    CAPTURE = "capture"
    RESTORE = "restore"
    PATHS = "paths"
    """A restore of the fixed part of both volumes; all else has to be what it was at the stop."""
    REVERT = "revert"
    """A restore of data that the workload is not healthy on, which has to be taken back."""
    UNDO = "undo"
    PRUNE = "prune"


class Victim(StrEnum):
    SERVER = "server"
    WORKER = "worker"
    ENGINE = "engine"
    ALL = "all"
    """Server, workers, engine and containers at once: a power cut, but for the disk."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What is waited for before a kill.

    Attributes:
        kind: ``step`` (of the operation), ``record`` (of the restore's journal), or ``request``: nothing.
    """

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When to kill: so many seconds after a sign."""

    sign: Sign
    seconds: float

    def __str__(self) -> str:
        return f"{self.sign} +{self.seconds * 1000:.0f} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A second kill, so many seconds after a server or an engine was started to recover from the first one."""

    victim: Victim
    seconds: float

    def __str__(self) -> str:
        return f"{self.victim} {self.seconds:.1f} s into the recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round.

    Attributes:
        engine_first: whether the engine comes back before the server, where both were killed.
        pause: seconds between the kill and the first start.
        quiesce: how the workload is held during a capture.
    """

    seed: int
    number: int
    layout: tuple[str, ...]
    action: Action
    victim: Victim
    moment: Moment
    again: Again | None
    engine_first: bool
    pause: float
    quiesce: str

    @property
    def place(self) -> str:
        """The filesystems, in a word."""
        return "+".join(self.layout)


_RESTORING: Final = tuple(
    [
        Sign("step", name)
        for name in ("preflight", "staging", "warming", "quiescing", "safeguarding", "committing", "redeploying")
    ]
    + [Sign("record", name) for name in ("STAGING", "STAGED", "PREPARED", "SAFE", "COMMIT", "SWAPPED", "TRIAL")]
)
_BY_ACTION: Final = {
    Action.DEPLOY: tuple(Sign("step", name) for name in ("checking", "stopping", "starting", "gating", "switching")),
    Action.CAPTURE: tuple(Sign("step", name) for name in ("warming", "quiescing", "capturing")),
    Action.RESTORE: (*_RESTORING, Sign("record", "CONFIRMED")),
    Action.PATHS: (*_RESTORING, Sign("step", "catching_up"), Sign("record", "CONFIRMED")),
    Action.REVERT: (*_RESTORING, Sign("record", "BACKWARD"), Sign("record", "REVERTED")),
    Action.UNDO: (*_RESTORING, Sign("record", "CONFIRMED")),
    Action.PRUNE: tuple(Sign("step", name) for name in ("judging", "deleting", "pruning")),
}
_WORKING: Final = frozenset(
    {"staging", "warming", "safeguarding", "STAGING", "PREPARED", "catching_up", "capturing", "pruning"}
)
"""Signs that a worker is at work, or about to be."""
_WITHOUT_WORKER: Final = (Action.DEPLOY, Victim.WORKER)
"""Nobody would be killed; instead another power cut during a restore."""
_LONGEST_DELAY: Final = {
    Action.DEPLOY: 1.5,
    Action.CAPTURE: 1.0,
    Action.RESTORE: 2.5,
    Action.PATHS: 2.5,
    Action.REVERT: 3.0,
    Action.UNDO: 2.5,
    Action.PRUNE: 0.8,
}
"""Seconds from the request to the kill, at most, where it goes by no sign; about as long as the action takes."""
_BY_DELAY: Final = 0.25
_AGAIN: Final = 0.4


def planned(seed: int, number: int) -> Round:
    """The round of this number, counted from 1."""
    block, place = divmod(number - 1, BLOCK)
    turn, layout = divmod(block, len(LAYOUTS))
    half, part = divmod(turn, 2)
    pairs = [(Action.RESTORE, Victim.ALL) if pair == _WITHOUT_WORKER else pair for pair in product(Action, Victim)]
    random.Random(f"{seed}/{LAYOUTS[layout]}/{half}").shuffle(pairs)
    action, victim = pairs[part * BLOCK + place]
    if action is Action.PATHS and LAYOUTS[layout][-1].endswith(ITSELF):
        action = Action.RESTORE  # chosen paths of a mount point are refused
    return drawn(seed, number, LAYOUTS[layout], action, victim)


def drawn(seed: int, number: int, layout: tuple[str, ...], action: Action, victim: Victim) -> Round:
    """A round with this action and this victim, and all else drawn."""
    draw = random.Random(f"{seed}/{number}/{action}/{victim}")
    return Round(
        seed=seed,
        number=number,
        layout=layout,
        action=action,
        victim=victim,
        moment=_moment(draw, action, victim),
        again=_again(draw, victim) if draw.random() < _AGAIN else None,
        engine_first=draw.random() < 0.5,
        pause=draw.choice((0.0, 0.0, draw.uniform(0, 1.5))),
        quiesce=draw.choice(("pause", "stop", "hooks")),
    )


def _moment(draw: random.Random, action: Action, victim: Victim) -> Moment:
    if draw.random() < _BY_DELAY:
        return Moment(sign=Sign("request"), seconds=draw.uniform(0, _LONGEST_DELAY[action]))
    signs = _BY_ACTION[action]
    if victim is Victim.WORKER:
        signs = tuple(sign for sign in signs if sign.name in _WORKING) or signs
    return Moment(sign=draw.choice(signs), seconds=draw.choice((0.0, draw.uniform(0, LONGEST_JITTER))))


def _again(draw: random.Random, victim: Victim) -> Again:
    if victim is Victim.ENGINE:
        return Again(victim=draw.choice((Victim.ENGINE, Victim.SERVER)), seconds=draw.uniform(0, LONGEST_RECOVERY))
    return Again(
        victim=draw.choice((Victim.SERVER, Victim.SERVER, Victim.ENGINE, Victim.ALL)),
        seconds=draw.uniform(0, LONGEST_RECOVERY),
    )
