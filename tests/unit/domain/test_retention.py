from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.retention import KEEP_RULES, Candidate, Keep, KeepReason, Verdict, judge

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(*when: int, **facts: bool) -> Candidate:
    """A snapshot of the workload ``w`` taken then, UTC."""
    taken_at = datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc] # year, month, day and what is finer
    return Candidate(id=f"{taken_at:%m%d-%H%M}", workload_id="w", taken_at=taken_at, **facts)


def kept(
    snapshots: list[Candidate], keep: Keep, zone: ZoneInfo | None = None, now: datetime = NOW
) -> dict[str, list[str]]:
    verdicts = judge(snapshots, keep, workload_id="w", zone=zone or UTC, now=now)
    return {verdict.id: [reason.value for reason in verdict.reasons] for verdict in verdicts if verdict.kept}


class TestRules:
    def test_the_last_ones_are_kept_whenever_they_were_taken(self) -> None:
        snapshots = [at(2026, 11, 23, 11, minute) for minute in range(5)]
        assert kept(snapshots, Keep(last=2)) == {"1123-1104": ["newest_good", "last"], "1123-1103": ["last"]}

    def test_of_each_day_the_newest_is_kept(self) -> None:
        snapshots = [at(2026, 11, day, hour) for day in (20, 21, 22) for hour in (3, 15)]
        assert list(kept(snapshots, Keep(daily=2))) == ["1122-1500", "1121-1500"]

    def test_days_without_snapshots_count_for_nothing(self) -> None:
        snapshots = [at(2026, 1, 1), at(2026, 1, 2), at(2026, 11, 1)]
        assert list(kept(snapshots, Keep(daily=3))) == ["1101-0000", "0102-0000", "0101-0000"]

    def test_weeks_begin_on_monday_and_belong_to_their_year(self) -> None:
        sunday, monday = at(2026, 1, 4), at(2026, 1, 5)
        same_week = [at(2025, 12, 29), at(2026, 1, 1)]  # both in the first week of 2026
        assert list(kept([sunday, monday, *same_week], Keep(weekly=9))) == ["0105-0000", "0104-0000"]

    def test_hours_months_and_years(self) -> None:
        snapshots = [
            at(2024, 3, 1),
            at(2025, 12, 31, 23, 59),
            at(2026, 10, 1),
            at(2026, 11, 23, 9, 5),
            at(2026, 11, 23, 9, 55),
            at(2026, 11, 23, 10, 0),
        ]
        assert list(kept(snapshots, Keep(hourly=2))) == ["1123-1000", "1123-0955"]
        assert list(kept(snapshots, Keep(monthly=3))) == ["1123-1000", "1001-0000", "1231-2359"]
        assert list(kept(snapshots, Keep(yearly=3))) == ["1123-1000", "1231-2359", "0301-0000"]

    def test_rules_add_up_and_every_reason_is_told(self) -> None:
        snapshots = [at(2026, 11, 22), at(2026, 11, 23, 1), at(2026, 11, 23, 2)]
        assert kept(snapshots, Keep(last=1, hourly=2, daily=2)) == {
            "1123-0200": ["newest_good", "last", "hourly", "daily"],
            "1123-0100": ["hourly"],
            "1122-0000": ["daily"],
        }

    def test_days_begin_at_midnight_of_the_zone(self) -> None:
        # 23:30 UTC is half past midnight of the next day in Berlin.
        snapshots = [at(2026, 11, 20, 22, 30), at(2026, 11, 20, 23, 30)]
        assert len(kept(snapshots, Keep(daily=5), ZoneInfo("UTC"))) == 1
        assert len(kept(snapshots, Keep(daily=5), BERLIN)) == 2

    def test_the_hour_that_autumn_has_twice_is_two_hours(self) -> None:
        # Both are 02:30 in Berlin, on the night in which summer time ends.
        snapshots = [at(2026, 10, 25, 0, 30), at(2026, 10, 25, 1, 30)]
        assert len(kept(snapshots, Keep(hourly=5), BERLIN)) == 2


class TestProtection:
    def test_the_newest_good_snapshot_stays_though_no_rule_keeps_it(self) -> None:
        snapshots = [at(2026, 11, 20), at(2026, 11, 21), at(2026, 11, 22, damaged=True)]
        assert kept(snapshots, Keep()) == {"1121-0000": ["newest_good"]}

    @pytest.mark.parametrize("fact", ["pinned", "safety", "in_use"])
    def test_what_somebody_needs_stays(self, fact: str) -> None:
        snapshots = [at(2026, 11, 20, **{fact: True}), at(2026, 11, 21), at(2026, 11, 22)]
        assert kept(snapshots, Keep(last=1)) == {"1122-0000": ["newest_good", "last"], "1120-0000": [fact]}

    def test_damage_takes_no_good_ones_place(self) -> None:
        snapshots = [at(2026, 11, 20), at(2026, 11, 21), at(2026, 11, 22, damaged=True)]
        assert kept(snapshots, Keep(last=1)) == {"1122-0000": ["last"], "1121-0000": ["newest_good", "last"]}

    def test_a_snapshot_of_a_future_that_a_wrong_clock_made_takes_no_place_and_stays(self) -> None:
        snapshots = [at(2026, 11, 22), at(2031, 1, 1)]
        assert kept(snapshots, Keep(last=1)) == {"0101-0000": ["future"], "1122-0000": ["newest_good", "last"]}

    def test_a_clock_that_jumps_ahead_makes_nothing_old(self) -> None:
        snapshots = [at(2026, 11, day) for day in (20, 21, 22)]
        keep = Keep(daily=2, weekly=1)
        assert kept(snapshots, keep, now=NOW + timedelta(days=4000)) == kept(snapshots, keep)

    def test_snapshots_of_other_workloads_are_not_judged(self) -> None:
        other = replace(at(2026, 11, 20), workload_id="x")
        verdicts = judge([other, at(2026, 11, 22)], Keep(last=1), workload_id="w", zone=UTC, now=NOW)
        assert [verdict.id for verdict in verdicts] == ["1122-0000"]


MOMENTS = st.datetimes(datetime(2024, 12, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy wants them so
ZONES = st.sampled_from([ZoneInfo("UTC"), BERLIN, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/St_Johns")])
KEEPS = st.builds(Keep, **{rule: st.integers(0, 4) for rule in KEEP_RULES})


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Snapshots of two workloads, many of them close to each other."""
    found: list[Candidate] = []
    for number in range(draw(st.integers(0, 25))):
        moment = draw(MOMENTS)
        if draw(st.booleans()) and found:
            step = draw(st.sampled_from([timedelta(minutes=20), timedelta(hours=9), timedelta(days=5)]))
            moment = found[-1].taken_at + step
        facts = draw(st.sampled_from([(), (), (), ("damaged",), ("damaged", "pinned"), ("safety",), ("in_use",)]))
        found.append(
            Candidate(
                id=f"{number:02}",
                workload_id=draw(st.sampled_from("wwwx")),
                taken_at=moment,
                **dict.fromkeys(facts, True),
            )
        )
    return found


def verdicts_of(snapshots: list[Candidate], keep: Keep, zone: ZoneInfo) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in judge(snapshots, keep, workload_id="w", zone=zone, now=NOW)}


def kept_ids(snapshots: list[Candidate], keep: Keep, zone: ZoneInfo) -> set[str]:
    return {verdict.id for verdict in verdicts_of(snapshots, keep, zone).values() if verdict.kept}


class TestLaws:
    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, ZONES)
    def test_each_snapshot_of_the_workload_has_one_verdict_and_the_protected_are_kept(
        self, snapshots: list[Candidate], keep: Keep, zone: ZoneInfo
    ) -> None:
        own = [snapshot for snapshot in snapshots if snapshot.workload_id == "w"]
        verdicts = judge(snapshots, keep, workload_id="w", zone=zone, now=NOW)
        assert sorted(verdict.id for verdict in verdicts) == sorted(snapshot.id for snapshot in own)
        by_id = {verdict.id: verdict for verdict in verdicts}
        good = [s for s in own if not s.damaged and s.taken_at <= NOW]
        if good:
            newest = max(good, key=lambda snapshot: (snapshot.taken_at, snapshot.id))
            assert KeepReason.NEWEST_GOOD in by_id[newest.id].reasons
        for snapshot in own:
            if snapshot.pinned or snapshot.safety or snapshot.in_use or snapshot.taken_at > NOW + timedelta(hours=1):
                assert by_id[snapshot.id].kept

    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, ZONES)
    def test_no_rule_keeps_more_than_it_says_of_the_good_ones(
        self, snapshots: list[Candidate], keep: Keep, zone: ZoneInfo
    ) -> None:
        whole = [replace(snapshot, damaged=False) for snapshot in snapshots]
        reasons = [reason for verdict in verdicts_of(whole, keep, zone).values() for reason in verdict.reasons]
        for rule in KEEP_RULES:
            assert reasons.count(KeepReason(rule)) <= getattr(keep, rule)

    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, ZONES)
    def test_applied_again_nothing_more_goes(self, snapshots: list[Candidate], keep: Keep, zone: ZoneInfo) -> None:
        first = kept_ids(snapshots, keep, zone)
        assert kept_ids([snapshot for snapshot in snapshots if snapshot.id in first], keep, zone) == first

    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, st.sampled_from(KEEP_RULES), ZONES)
    def test_a_rule_that_keeps_more_loses_nothing(
        self, snapshots: list[Candidate], keep: Keep, rule: str, zone: ZoneInfo
    ) -> None:
        more = replace(keep, **{rule: getattr(keep, rule) + 1})
        assert kept_ids(snapshots, keep, zone) <= kept_ids(snapshots, more, zone)

    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, ZONES, st.data())
    def test_damage_to_one_costs_no_other(
        self, snapshots: list[Candidate], keep: Keep, zone: ZoneInfo, data: st.DataObject
    ) -> None:
        if not snapshots:
            return
        hit = data.draw(st.sampled_from(snapshots))
        after = [replace(snapshot, damaged=True) if snapshot is hit else snapshot for snapshot in snapshots]
        assert kept_ids(snapshots, keep, zone) - {hit.id} <= kept_ids(after, keep, zone)

    @settings(deadline=None, max_examples=40)
    @given(histories(), KEEPS, ZONES)
    def test_older_snapshots_do_not_matter_to_newer_ones(
        self, snapshots: list[Candidate], keep: Keep, zone: ZoneInfo
    ) -> None:
        ordered = sorted(snapshots, key=lambda snapshot: (snapshot.taken_at, snapshot.id))
        newer = ordered[len(ordered) // 2 :]
        everything = verdicts_of(snapshots, keep, zone)
        assert all(everything[verdict.id] == verdict for verdict in verdicts_of(newer, keep, zone).values())
