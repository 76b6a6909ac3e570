"""A slice of ``make torture``: the same code, three rounds, with an engine of its own that is killed as well."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torture.findings import Findings
from torture.kills import living
from torture.plan import Action, Moment, Round, Sign, Victim, drawn
from torture.rounds import carry_out
from torture.world import World

pytestmark = [pytest.mark.xdist_group("private engine"), pytest.mark.timeout(300)]

SEED = 20
LAYOUT = ("ext4",)


UNSAFE = (sys.executable, "-m", "holdfast.testing.unsafe_server")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hf-") as place, living(World(Path(place, "w"), LAYOUT, SEED)) as world:
        yield world


def planned(number: int, action: Action, victim: Victim, record: str) -> Round:
    """A round with one kill, as soon as a record is in the journal; after a power cut the engine comes back first."""
    moment = Moment(sign=Sign("record", record), seconds=0)
    return replace(drawn(SEED, number, LAYOUT, action, victim), moment=moment, again=None, pause=0, engine_first=True)


ROUNDS = (
    planned(1, Action.RESTORE, Victim.ENGINE, "PREPARED"),
    planned(2, Action.RESTORE, Victim.ALL, "COMMIT"),
    planned(3, Action.REVERT, Victim.SERVER, "BACKWARD"),
)


def test_restores_survive_the_death_of_engine_and_server_and_of_everything_at_once(
    world: World, figure: Callable[[str, int], None]
) -> None:
    for plan in ROUNDS:
        result = carry_out(world, plan)
        assert result.troubles == []
        assert result.seen is not None
        assert not result.seen.over, "it was killed in the middle of it"
        figure("rounds of real kills", 1)
    assert Findings(world).verify_all() == []


if os.environ.get("HOLDFAST_TORTURE") == "1":

    def test_a_server_that_leaves_restart_policies_armed_loses_records_and_is_found_out(world: World) -> None:
        world.machine.kill(Victim.SERVER)
        world.machine.command = UNSAFE
        world.machine.bring_up()
        result = carry_out(world, planned(4, Action.RESTORE, Victim.ALL, "COMMIT"))
        assert any("lost records" in trouble for trouble in result.troubles), result.troubles
