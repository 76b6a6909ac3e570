"""A slice of ``make torture``: the same code, three rounds, with an engine of its own that is killed as well."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torture.findings import Findings
from torture.kills import living
from torture.plan import Action, Again, Moment, Round, Sign, Victim, drawn
from torture.rounds import carry_out
from torture.world import World

pytestmark = [pytest.mark.xdist_group("private engine"), pytest.mark.timeout(300)]

SEED = 20
LAYOUT = ("ext4",)


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hf-") as place, living(World(Path(place, "w"), LAYOUT, SEED)) as world:
        yield world


def rounds() -> list[Round]:
    """The engine killed in the middle of a safety snapshot, everything at a commit, the server on the way back."""
    plans = [
        (Action.RESTORE, Victim.ENGINE, Sign("record", "PREPARED"), None),
        (Action.RESTORE, Victim.ALL, Sign("record", "COMMIT"), Again(victim=Victim.SERVER, seconds=0.7)),
        (Action.REVERT, Victim.SERVER, Sign("record", "BACKWARD"), None),
    ]
    return [
        replace(drawn(SEED, number, LAYOUT, action, victim), moment=Moment(sign=sign, seconds=0), again=again, pause=0)
        for number, (action, victim, sign, again) in enumerate(plans, start=1)
    ]


def test_a_restore_survives_what_kills_the_engine_the_server_and_everything_at_once(
    world: World, figure: Callable[[str, int], None]
) -> None:
    for plan in rounds():
        result = carry_out(world, plan)
        assert result.troubles == []
        assert result.seen is not None
        assert not result.seen.over, "it was killed in the middle of it"
        figure("rounds of real kills", 1)
    assert Findings(world).verify_all() == []
