"""Previews over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.services.previews import PreviewWish
from tests.unit.api.standins import SNAPSHOT_ID, Api

PREVIEWS = "/api/workloads/notes/previews"


async def test_a_preview_is_made_as_it_is_asked_for(api: Api) -> None:
    body = {"name": "feature/x", "image": "notes:x", "seed": SNAPSHOT_ID, "expires": "2d", "last_snapshot": False}
    made = await api.ask("POST", PREVIEWS, json=body, headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.headers["Location"]) == (202, f"/api/operations/{made.json()['id']}")
    wish: PreviewWish = api.previews.last["wish"]
    assert (wish.key, wish.image, wish.seed, wish.expires) == ("feature/x", "notes:x", SNAPSHOT_ID, 172800.0)
    assert (wish.last_snapshot, wish.idempotency_key) == (False, "k")
    await api.ask("POST", PREVIEWS, json={"name": "pr-17"})
    wish = api.previews.last["wish"]
    assert (wish.image, wish.seed, wish.expires, wish.last_snapshot) == (None, None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "a" * 256},
        {"name": "a", "seed": "newest"},
        {"name": "a", "expires": "1s"},
        {"name": "a", "expires": "soon"},
        {"name": "a", "image": "not an image"},
        {"name": "a", "env": {}},
    ],
)
async def test_what_makes_no_sense_makes_no_preview(api: Api, body: dict[str, Any]) -> None:
    assert (await api.ask("POST", PREVIEWS, json=body)).status_code == 400
    assert api.previews.calls == []


async def test_previews_are_listed_looked_at_and_removed(api: Api) -> None:
    listed = (await api.ask("GET", "/api/previews?workload=notes")).json()["items"]
    assert api.previews.last == {"of": "notes"}
    shown = (await api.ask("GET", "/api/previews/notes-feature-x")).json()
    assert listed == [shown]
    assert shown["deployment"] == "failed"
    assert (shown["parent"], shown["made_for"], shown["seed"], shown["last_snapshot"]) == (
        "notes",
        "feature/x",
        None,
        True,
    )
    for query, expected in (("", None), ("?last_snapshot=false", False)):
        answer = await api.ask("DELETE", f"/api/previews/notes-feature-x{query}")
        assert (answer.status_code, api.previews.last["last_snapshot"]) == (202, expected)
