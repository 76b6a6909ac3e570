"""What is told, of what has ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.domain.notice import (
    Channel,
    ChannelKind,
    Level,
    Notice,
    NoticeKind,
    notice_of,
    pause_after,
)
from holdfast.domain.operation import Operation, OperationKind, OperationState
from holdfast.domain.schedule import ACTOR

AT = "2026-11-23T09:00:00.000000Z"
FAILED, SUCCEEDED, INTERRUPTED = OperationState.FAILED, OperationState.SUCCEEDED, OperationState.INTERRUPTED


def operation(kind: OperationKind, state: OperationState, **facts: Any) -> Operation:
    given = {"actor": "ann", "workload_id": "w1", "finished_at": AT} | facts
    return Operation(id="o1", kind=kind, state=state, created_at=AT, **given)


@pytest.mark.parametrize(
    ("ended", "kind", "title"),
    [
        (operation(OperationKind.RESTORE, SUCCEEDED), NoticeKind.RESTORE_ENDED, "Restore of notes succeeded"),
        (operation(OperationKind.UNDO, FAILED), NoticeKind.RESTORE_ENDED, "Undo of notes failed"),
        (operation(OperationKind.DEPLOY, FAILED), NoticeKind.DEPLOY_FAILED, "Deploy of notes failed"),
        (operation(OperationKind.ROLLBACK, INTERRUPTED), NoticeKind.DEPLOY_FAILED, "Rollback of notes interrupted"),
        (operation(OperationKind.SNAPSHOT, FAILED), NoticeKind.SNAPSHOT_FAILED, "Snapshot of notes failed"),
        (
            operation(OperationKind.VERIFY, FAILED, workload_id=None, error={"code": "repository_damaged"}),
            NoticeKind.DAMAGE_FOUND,
            "Verification failed",
        ),
    ],
)
def test_what_somebody_should_hear_of_is_told_with_the_workloads_name(
    ended: Operation, kind: NoticeKind, title: str
) -> None:
    notice = notice_of(ended)
    assert notice is not None
    named = Notice(kind=notice.kind, level=notice.level, title=notice.title, at=notice.at, workload="notes")
    assert (notice.kind, named.line) == (kind, title)
    assert notice.level is (Level.INFO if ended.state is SUCCEEDED else Level.PROBLEM)


@pytest.mark.parametrize(
    "ended",
    [
        operation(OperationKind.DEPLOY, SUCCEEDED),
        operation(OperationKind.DEPLOY, OperationState.CANCELLED),
        operation(OperationKind.SNAPSHOT, SUCCEEDED),
        operation(OperationKind.RESTORE, SUCCEEDED, outcome={"result": "dry_run"}),
        operation(OperationKind.RESTORE, INTERRUPTED),
        operation(OperationKind.VERIFY, FAILED, error={"code": "engine_unavailable"}),
        operation(OperationKind.SNAPSHOT, FAILED, actor=ACTOR),
    ],
)
def test_what_nobody_has_to_hear_of_or_hears_of_otherwise_is_not_told(ended: Operation) -> None:
    assert notice_of(ended) is None


def test_a_title_is_one_line() -> None:
    notice = Notice(kind=NoticeKind.TEST, level=Level.INFO, title="one\r\nBcc: {workload}", at=AT, workload="notes")
    assert notice.line == "one Bcc: notes"


def test_a_channel_takes_everything_or_what_it_names() -> None:
    notice = Notice(kind=NoticeKind.DISK_LOW, level=Level.PROBLEM, title="", at=AT)
    channel = Channel(id="c", name="ops", kind=ChannelKind.WEBHOOK, created_at=AT)
    some = Channel(id="c", name="ops", kind=ChannelKind.WEBHOOK, created_at=AT, kinds=(NoticeKind.SCHEDULE,))
    assert (channel.takes(notice), some.takes(notice)) == (True, False)


def test_attempts_come_less_and_less_often_and_never_less_than_once_an_hour() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 100)]
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)
