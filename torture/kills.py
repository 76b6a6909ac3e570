"""The run: rounds in their order, each told on a line, until they are through, time is up, or one fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Final

from torture.findings import Findings
from torture.leftovers import alone_at, kept_at, world_at
from torture.plan import BLOCK, Round, planned
from torture.report import failure, line, table
from torture.rounds import Result, carry_out
from torture.world import World

VERIFIED: Final = 4
"""After every so many rounds the whole repository is read back, and in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a run.

    Attributes:
        rounds: how many; ``None`` for as many as there is time.
        first: the number of the first one.
        minutes: how long to go on at most; ``None`` for no bound.
    """

    seed: int
    rounds: int | None
    first: int
    minutes: float | None
    place: Path


def run(options: Options, say: Callable[[str], object]) -> bool:
    """Do the rounds, and tell of them. Returns whether all were survived.

    Raises:
        InUse: another run is at work at the place.
    """
    say(f"seed {options.seed}")
    results: list[Result] = []
    try:
        with alone_at(options.place):
            for _, block in groupby(_plans(options), key=lambda plan: (plan.number - 1) // BLOCK):
                if not _block(options, block, results, say):
                    return False
    finally:
        if results:
            say(table(results))
    return True


def _plans(options: Options) -> Iterator[Round]:
    number, began = options.first, time.monotonic()
    while options.rounds is None or number < options.first + options.rounds:
        if options.minutes is not None and time.monotonic() > began + options.minutes * 60:
            return
        yield planned(options.seed, number)
        number += 1


def _block(options: Options, block: Iterator[Round], results: list[Result], say: Callable[[str], object]) -> bool:
    """Do the rounds of one layout, and read the whole repository back in the end."""
    first = next(block)
    with living(World(world_at(options.place), first.layout, first.seed)) as world:
        for plan in chain([first], block):
            result = carry_out(world, plan)
            if plan.number % VERIFIED == 0 and not result.troubles:
                result.troubles += Findings(world).verify_all()
            results.append(result)
            say(line(result))
            if result.troubles:
                kept = kept_at(options.place, plan.seed, plan.number)
                _keep(world, kept)
                say(failure(result, kept))
                return False
        damage = Findings(world).verify_all()
        for trouble in damage:
            say(f"after round {results[-1].round.number}: {trouble}")
    return not damage


@contextmanager
def living(world: World) -> Iterator[World]:
    """A world until the end of the block, and then nothing of it."""
    try:
        yield world
    finally:
        world.close()


def _keep(world: World, kept: Path) -> None:
    """Put what a failed round left aside, before its world goes."""
    world.put_down()
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for left in (*world.place.glob("*.img"), world.place / "logs"):
        left.rename(kept / left.name)
