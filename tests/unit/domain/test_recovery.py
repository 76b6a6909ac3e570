"""Recovery ends on one side, whatever was cut off where (I2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Damaged
from holdfast.domain.recovery import Direction, Observation, decide, direction
from holdfast.domain.restore import (
    Identity,
    OnUnhealthy,
    RecordType,
    RestoreFacts,
    RestoreResult,
    RootRef,
    TreeSide,
    VolumeFacts,
)
from holdfast.domain.restore_records import (
    TRANSITIONS,
    AbortedRecord,
    BackwardRecord,
    CommitRecord,
    ConfirmedRecord,
    DoneRecord,
    MadeRecord,
    PreparedRecord,
    Record,
    RevertedRecord,
    SafeRecord,
    StagedRecord,
    StagingRecord,
    SwappedRecord,
    TrialRecord,
    out_of_order,
    volumes_of,
)
from holdfast.domain.workload import DesiredState

OLD, NEW, OTHER, MISSING = TreeSide.OLD, TreeSide.NEW, TreeSide.OTHER, TreeSide.MISSING


def facts(count: int = 3) -> RestoreFacts:
    return RestoreFacts(
        restore_id="r1",
        operation_id="o1",
        workload_id="w1",
        workload_name="notes",
        lock_ids=("w1",),
        snapshot_id="s1",
        volumes=tuple(
            VolumeFacts(
                index=index,
                target=f"/data{index}",
                live=RootRef(root="/srv", relative=f"notes/{index}"),
                wrapper=f".holdfast-r1-{index}",
                live_identity=Identity(handle_type=1, handle=f"0{index}"),
                parent_identity=Identity(handle_type=1, handle="ff"),
            )
            for index in range(count)
        ),
        desired=DesiredState.RUNNING,
        on_unhealthy=OnUnhealthy.REVERT,
        actor="ada",
    )


RECORDS: dict[RecordType, Record] = {
    record.type: record
    for record in (
        StagingRecord(facts=facts()),
        StagedRecord(staged={index: Identity(handle_type=1, handle=f"1{index}") for index in range(3)}),
        PreparedRecord(containers=()),
        SafeRecord(snapshot_id="s2"),
        CommitRecord(),
        SwappedRecord(),
        TrialRecord(deadline="2026-01-01T00:00:00.000000Z", deployment_id="d1"),
        ConfirmedRecord(result=RestoreResult.RESTORED),
        BackwardRecord(why="unhealthy"),
        RevertedRecord(),
        AbortedRecord(why="cancelled"),
        DoneRecord(),
    )
}


MADE = Identity(handle_type=1, handle="20")
"""The directory that stands in for the missing one of the volume 0."""
RECORDS[RecordType.MADE] = MadeRecord(made={0: MADE})


def story(*types: RecordType) -> tuple[Record, ...]:
    return tuple(RECORDS[kind] for kind in types)


def legal_stories() -> Iterator[tuple[Record, ...]]:
    """Every legal journal, with at most one TRIAL after another."""
    waiting: list[tuple[RecordType, ...]] = [()]
    while waiting:
        types = waiting.pop()
        yield story(*types)
        for following in sorted(TRANSITIONS[types[-1] if types else None]):
            if following is not RecordType.TRIAL or types.count(RecordType.TRIAL) < 2:
                waiting.append((*types, following))


STORIES = sorted(legal_stories(), key=len)
SWAP = (RecordType.STAGING, RecordType.STAGED, RecordType.PREPARED, RecordType.SAFE, RecordType.COMMIT)


class Disk:
    """What recovery acts upon: the journal, and which tree is live in each volume."""

    def __init__(self, records: Sequence[Record], live: Sequence[TreeSide]) -> None:
        self.records = list(records)
        self.live = list(live)
        self.staged_known = any(record.type is RecordType.STAGED for record in records)

    def observe(self) -> dict[int, Observation]:
        other = {OLD: NEW, NEW: OLD}
        return {
            index: Observation(
                live=side,
                staged=other[side] if self.staged_known else OTHER,
                staged_known=self.staged_known,
                target=f"/data{index}",
                live_path=f"/srv/{index}",
                staged_path=f"/srv/.holdfast-r1-{index}/staged",
            )
            for index, side in enumerate(self.live)
        }

    def recover(self, *, dies_after: int | None = None) -> bool:
        """Run recovery; die after that many acts. Returns whether it came to its end."""
        plan = decide(direction(self.records), self.observe())
        assert plan.problem is None
        acts = 0
        for index in plan.exchange:
            if acts == dies_after:
                return False
            self.live[index] = {OLD: NEW, NEW: OLD}[self.live[index]]
            acts += 1
        if plan.record is not None:
            if acts == dies_after:
                return False
            self.records.append(RECORDS[plan.record])
        return True


def crash_points() -> Iterator[tuple[tuple[Record, ...], tuple[TreeSide, ...]]]:
    """Every journal, with every set of exchanges that can have been made when its last record was the last."""
    for records in STORIES:
        kinds = [record.type for record in records]
        if kinds and kinds[-1] in (RecordType.COMMIT, RecordType.BACKWARD, RecordType.SAFE):
            yield from ((records, live) for live in itertools.product((OLD, NEW), repeat=3))
        elif RecordType.SWAPPED in kinds and RecordType.REVERTED not in kinds:
            yield records, (NEW,) * 3
        elif records:
            yield records, (OLD,) * 3


CRASHES = list(crash_points())
ENDS = {
    Direction.ABORT: OLD,
    Direction.FORWARD: NEW,
    Direction.TRIAL_PENDING: NEW,
    Direction.BACKWARD: OLD,
    Direction.ABORTED: OLD,
    Direction.REVERTED: OLD,
    Direction.CONFIRMED: NEW,
}


@given(point=st.sampled_from(CRASHES), deaths=st.lists(st.integers(min_value=0, max_value=3), max_size=6))
def test_recovery_ends_on_the_side_of_its_direction_wherever_it_dies_in_between(
    point: tuple[tuple[Record, ...], tuple[TreeSide, ...]], deaths: list[int]
) -> None:
    records, live = point
    towards = direction(records)
    disk = Disk(records, live)
    for death in deaths:
        disk.recover(dies_after=death)
    assert disk.recover()
    expected = list(live) if towards is Direction.DONE else [ENDS[towards]] * 3
    assert disk.live == expected
    assert out_of_order(disk.records) is None
    after = (list(disk.live), list(disk.records))
    plan = decide(direction(disk.records), disk.observe())
    assert (plan.exchange, plan.record, plan.problem) == ((), None, None)
    assert disk.recover()
    assert (disk.live, disk.records) == after


def test_every_crash_point_was_enumerated() -> None:
    assert {direction(records) for records, _ in CRASHES} == set(Direction)
    for partly in (Direction.FORWARD, Direction.BACKWARD):
        assert len({live for records, live in CRASHES if direction(records) is partly}) == 2**3


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (RecordType.STAGING, Direction.ABORT),
        (RecordType.STAGED, Direction.ABORT),
        (RecordType.PREPARED, Direction.ABORT),
        (RecordType.SAFE, Direction.ABORT),
        (RecordType.COMMIT, Direction.FORWARD),
        (RecordType.SWAPPED, Direction.TRIAL_PENDING),
        (RecordType.TRIAL, Direction.TRIAL_PENDING),
        (RecordType.BACKWARD, Direction.BACKWARD),
        (RecordType.ABORTED, Direction.ABORTED),
        (RecordType.REVERTED, Direction.REVERTED),
        (RecordType.CONFIRMED, Direction.CONFIRMED),
        (RecordType.DONE, Direction.DONE),
    ],
)
def test_the_last_record_gives_the_direction(last: RecordType, expected: Direction) -> None:
    found = {direction(records) for records in STORIES if records and records[-1].type is last}
    assert found == {expected}


@given(types=st.lists(st.sampled_from(list(RecordType)), max_size=8))
def test_a_sequence_is_damage_unless_every_step_is_in_the_table(types: list[RecordType]) -> None:
    legal = all(kind in TRANSITIONS[before] for before, kind in zip([None, *types], types, strict=False))
    if legal:
        direction(story(*types))
    else:
        with pytest.raises(Damaged) as caught:
            direction(story(*types))
        assert caught.value.code == "journal_damaged"


@pytest.mark.parametrize("missing", [RecordType.STAGED, RecordType.PREPARED, RecordType.SAFE])
def test_nothing_is_committed_without_staged_trees_containers_and_safety_snapshot(missing: RecordType) -> None:
    with pytest.raises(Damaged, match="can't follow"):
        direction(story(*(kind for kind in SWAP if kind is not missing)))


def test_an_empty_journal_did_nothing() -> None:
    plan = decide(direction(()), {})
    assert (plan.record, plan.exchange, plan.problem, plan.may_start) == (None, (), None, True)


def test_a_direction_without_any_volume_is_never_acted_upon() -> None:
    assert decide(Direction.FORWARD, {}).problem is not None


UNDERSTOOD = {(OLD, NEW), (NEW, OLD)}
UNCLEAR = [pair for pair in itertools.product(TreeSide, repeat=2) if pair not in UNDERSTOOD]


@pytest.mark.parametrize("towards", [Direction.ABORT, Direction.FORWARD, Direction.TRIAL_PENDING, Direction.BACKWARD])
@pytest.mark.parametrize(("live", "staged"), UNCLEAR)
def test_one_volume_that_is_not_understood_keeps_all_as_they_are(
    towards: Direction, live: TreeSide, staged: TreeSide
) -> None:
    good = Observation(live=OLD, staged=NEW, target="/good", live_path="/srv/good", staged_path="/srv/.w/staged")
    bad = Observation(
        live=live, staged=staged, target="/bad", live_path="/srv/bad", staged_path="/srv/.x/staged", detail="unmounted?"
    )
    plan = decide(towards, {0: good, 1: bad})
    if live is staged is TreeSide.MIXED and towards in (Direction.FORWARD, Direction.BACKWARD):
        assert plan.problem is None  # a swap of several steps on its way, which is finished either way
        assert 1 in plan.exchange
        return
    assert plan.problem is not None
    assert (plan.exchange, plan.record, plan.removable, plan.may_start) == ((), None, (), False)
    assert plan.problem.code == "recovery_unclear"
    for part in ("/srv/good", "/srv/bad", "/srv/.x/staged", "/bad", "unmounted?"):
        assert part in plan.problem.message


def test_nothing_is_exchanged_while_a_trial_may_have_written() -> None:
    seen = {0: Observation(live=NEW, staged=OLD), 1: Observation(live=OLD, staged=NEW)}
    assert decide(Direction.TRIAL_PENDING, seen).problem is not None


def test_before_staging_completes_only_the_live_tree_has_to_be_known() -> None:
    for staged in (MISSING, OTHER):
        plan = decide(Direction.ABORT, {0: Observation(live=OLD, staged=staged, staged_known=False)})
        assert (plan.problem, plan.record, plan.exchange, plan.removable) == (None, RecordType.ABORTED, (), (0,))
    for live in (OTHER, MISSING):
        assert decide(Direction.ABORT, {0: Observation(live=live, staged=OTHER, staged_known=False)}).problem


def test_what_was_staged_is_removed_only_by_an_abort_or_when_the_end_is_decided() -> None:
    seen = {0: Observation(live=OLD, staged=NEW), 1: Observation(live=NEW, staged=OLD)}
    assert decide(Direction.ABORT, seen).removable == (0, 1)
    assert decide(Direction.FORWARD, seen).removable == ()
    assert decide(Direction.BACKWARD, seen).removable == ()
    assert decide(Direction.CONFIRMED, {1: seen[1]}).removable == (1,)
    assert decide(Direction.REVERTED, {0: seen[0]}).removable == (0,)


@pytest.mark.parametrize(
    ("towards", "live", "staged"),
    [(Direction.CONFIRMED, NEW, OLD), (Direction.ABORTED, OLD, NEW), (Direction.REVERTED, OLD, NEW)],
)
def test_tidying_up_goes_on_where_the_wrapper_is_gone_or_another_restore_followed(
    towards: Direction, live: TreeSide, staged: TreeSide
) -> None:
    for seen in (
        Observation(live=live, staged=staged),
        Observation(live=live, staged=MISSING),
        Observation(live=OTHER, staged=staged),
    ):
        plan = decide(towards, {0: seen})
        assert (plan.problem, plan.may_start, plan.removable) == (None, True, (0,))
    assert decide(towards, {0: Observation(live=live, staged=OTHER)}).removable == ()
    assert decide(towards, {0: Observation(live=MISSING, staged=staged)}).removable == ()


@pytest.mark.parametrize(
    ("towards", "live"), [(Direction.CONFIRMED, OLD), (Direction.ABORTED, NEW), (Direction.REVERTED, NEW)]
)
def test_a_decided_end_that_the_disk_contradicts_keeps_the_workload_stopped(towards: Direction, live: TreeSide) -> None:
    staged = NEW if live is OLD else OLD
    plan = decide(towards, {0: Observation(live=live, staged=staged)})
    assert plan.problem is not None
    assert not plan.may_start
    assert plan.removable == ()


def test_the_volumes_know_their_staged_trees_once_they_are_staged() -> None:
    assert [v.staged_identity for v in volumes_of(story(RecordType.STAGING))] == [None] * 3
    staged = volumes_of(story(RecordType.STAGING, RecordType.STAGED))
    assert [v.staged_identity and v.staged_identity.handle for v in staged] == ["10", "11", "12"]
    assert volumes_of(()) == ()


def test_the_volumes_know_what_stands_in_for_a_missing_directory_once_it_is_made() -> None:
    before = volumes_of(story(RecordType.STAGING, RecordType.STAGED, RecordType.PREPARED))
    made = volumes_of(story(RecordType.STAGING, RecordType.STAGED, RecordType.PREPARED, RecordType.MADE))
    assert made[0].live_identity == MADE
    assert made[1:] == before[1:], "the others keep theirs"


@pytest.mark.parametrize("known", [True, False])
def test_where_nothing_was_live_nothing_is_the_old_side_until_commit(*, known: bool) -> None:
    staged = NEW if known else MISSING
    seen = Observation(live=MISSING, staged=staged, staged_known=known, was_missing=True)
    plan = decide(Direction.ABORT, {0: seen, 1: Observation(live=OLD, staged=staged, staged_known=known)})
    assert (plan.problem, plan.record, plan.exchange, plan.removable) == (None, RecordType.ABORTED, (), (0, 1))
    for towards in (Direction.ABORTED, Direction.REVERTED):
        assert decide(towards, {0: Observation(live=MISSING, staged=NEW, was_missing=True)}).removable == (0,)
    for towards in (Direction.FORWARD, Direction.BACKWARD):
        assert decide(towards, {0: Observation(live=MISSING, staged=NEW, was_missing=True)}).problem
    assert decide(Direction.ABORT, {0: Observation(live=OTHER, staged=NEW, was_missing=True)}).problem


def test_an_abort_moves_nothing_where_the_staged_tree_is_not_known_to_be_whole() -> None:
    for live in (MISSING, OLD):
        seen = Observation(live=live, staged=OTHER, staged_known=False, was_missing=True)
        assert decide(Direction.ABORT, {0: seen}).exchange == ()
