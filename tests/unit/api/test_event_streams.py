"""Server-sent events: the wire, the pauses, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from holdfast.api import sse
from holdfast.api.auth import MOST_STREAMS
from holdfast.api.sse import Onlooker, event_stream
from holdfast.domain.accounts import TokenScope
from holdfast.domain.errors import Unauthorized, Unavailable
from holdfast.services.updates import Update
from tests.unit.api.standins import OPERATION_ID, SNAPSHOT_ID, WORKLOAD_ID, Api


def events(text: str) -> list[dict[str, str]]:
    """The events of a stream, comments left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def allowed() -> None:
    """Nobody stops it."""


async def test_an_operation_is_streamed_until_its_final_state(api: Api) -> None:
    answer = await api.ask("GET", f"/api/operations/{OPERATION_ID}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    first, last = events(answer.text)
    assert (first["event"], first["id"]) == ("operation", "1")
    assert json.loads(first["data"])["state"] == "running"
    assert json.loads(last["data"])["outcome"] == {"result": "restored"}


async def test_an_unknown_operation_is_refused_before_the_stream(api: Api) -> None:
    answer = await api.ask("GET", "/api/operations/01jzzzzzzzzzzzzzzzzzzzzzzz/events")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "operation_unknown")


async def test_followed_logs_are_one_event_a_line(api: Api) -> None:
    answer = await api.ask("GET", "/api/workloads/notes/logs?follow=true")
    assert [json.loads(event["data"])["text"] for event in events(answer.text)] == ["hello", "a\nb"]
    assert api.logs.last["tail"] == 200


async def test_an_error_in_the_middle_is_the_last_event(api: Api) -> None:
    api.logs.breaks = Unavailable("engine_unavailable", "The engine is gone.", next_step="Start it.")
    answer = await api.ask("GET", "/api/workloads/notes/logs?follow=true")
    last = events(answer.text)[-1]
    assert last["event"] == "error"
    assert json.loads(last["data"])["error"]["code"] == "engine_unavailable"


async def test_what_changes_is_streamed_beginning_with_everything(api: Api) -> None:
    first, second = events((await api.ask("GET", "/api/events")).text)
    assert first["event"] == "updates"
    assert json.loads(first["data"]) == {
        "updates": [{"part": None, "workload_id": None}],
        "position": (await api.ask("GET", "/api/session")).json()["position"],
    }
    assert json.loads(second["data"]) == {
        "updates": [{"part": "snapshots", "workload_id": WORKLOAD_ID}],
        "position": "here-2",
    }


async def test_nobody_follows_so_many_streams_that_none_is_left_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = api.app.state.following
    counted = []

    async def follow() -> AsyncIterator[tuple[str, frozenset[Update]]]:
        counted.append(dict(following))
        yield "", frozenset()

    monkeypatch.setattr(api.updates, "follow", follow)
    assert (await api.ask("GET", "/api/events")).status_code == 200
    ((user, count),) = counted[0].items()
    assert count == 1, "as long as it lasts"
    assert not following, "and no longer"
    monkeypatch.setitem(following, user, MOST_STREAMS)
    for path in ("/api/events", f"/api/operations/{OPERATION_ID}/events", "/api/workloads/notes/logs?follow=true"):
        refused = await api.ask("GET", path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "streams_too_many")
    monkeypatch.setitem(following, user, MOST_STREAMS - 1)
    assert (await api.ask("GET", "/api/events")).status_code == 200


async def test_a_stream_that_is_meant_for_one_user_is_refused_to_another(api: Api) -> None:
    name = (await api.ask("GET", "/api/session")).json()["name"].replace(" ", "%20")
    for path in ("/api/events", f"/api/operations/{OPERATION_ID}/events"):
        assert (await api.ask("GET", f"{path}?user={name}")).status_code == 200
        refused = await api.ask("GET", f"{path}?user=ann")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "session_over")
    assert not api.app.state.following


async def test_a_request_that_changed_something_is_told_and_no_other(api: Api) -> None:
    await api.ask("GET", "/api/workloads")
    assert (await api.ask("PATCH", "/api/workloads/notes/snapshots/none", json={"pinned": True})).is_error
    assert api.updates.told == []
    await api.ask("PATCH", f"/api/workloads/notes/snapshots/{SNAPSHOT_ID}", json={"pinned": True})
    assert api.updates.told == [Update(part=TokenScope.SNAPSHOTS)]


async def test_silence_is_filled_with_comments_and_loses_nothing() -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        await go.wait()
        yield "{}"

    body = aiter(event_stream("x", slow(), Onlooker(allowed, asyncio.Event()), heartbeat=0.001).body_iterator)
    assert await anext(body) == b": ping\n\n"
    assert await anext(body) == b": ping\n\n"
    go.set()
    rest = [chunk async for chunk in body]
    assert rest[-1] == b"event: x\ndata: {}\nid: 1\n\n"


async def test_a_server_that_stops_ends_streams_without_end_in_order() -> None:
    closing = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        yield "{}"
        await asyncio.Event().wait()

    body = aiter(event_stream("x", endless(), Onlooker(allowed, closing), heartbeat=60).body_iterator)
    await anext(body)
    closing.set()
    assert [chunk async for chunk in body] == []


async def test_a_client_that_goes_away_closes_the_source() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "{}"
            await asyncio.Event().wait()
        finally:
            closed.set()

    body = aiter(event_stream("x", endless(), Onlooker(allowed, asyncio.Event()), heartbeat=60).body_iterator)
    await anext(body)
    waiting = asyncio.ensure_future(anext(body))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await asyncio.wait_for(closed.wait(), 5)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_stream_ends_for_who_may_not_see_it_any_more_however_much_there_is_to_send(silent: bool) -> None:
    asked = 0

    async def at_first() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise Unauthorized("session_over", "Over.", next_step="Sign in.")

    async def endless() -> AsyncIterator[str]:
        while True:
            if silent:
                await asyncio.Event().wait()
            yield "{}"

    heartbeat = 0.001 if silent else 0.0
    body = event_stream("x", endless(), Onlooker(at_first, asyncio.Event()), heartbeat=heartbeat).body_iterator
    sent = [chunk async for chunk in body]
    assert asked == 3
    assert len(sent) >= 3
    assert b"session_over" in sent[-1]


async def test_who_signed_out_is_not_told_what_happens_before_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def over() -> None:
        raise Unauthorized("session_over", "Over.", next_step="Sign in.")

    async def one() -> AsyncIterator[str]:
        yield "{}"

    monkeypatch.setattr(sse, "CHECK_SECONDS", 0.0)
    body = event_stream("x", one(), Onlooker(over, asyncio.Event()), heartbeat=60).body_iterator
    (sent,) = [chunk async for chunk in body]
    assert b"session_over" in sent
