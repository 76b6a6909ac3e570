"""Sentences that Holdfast tells, with their code and values."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

from holdfast.domain.errors import Unavailable
from holdfast.domain.told import Told, some, told
from holdfast.store.codec import decode, encode


def test_a_sentence_has_its_values_in_english_words_and_as_they_are() -> None:
    moment = datetime(2026, 11, 26, 20, 6, 3, tzinfo=UTC)
    found = told(
        "it_is_so",
        "{count} in {place} take {free_bytes} since {since}, by {share}: {which}.",
        "Look at {place}.",
        count=1000,
        place=Path("/srv/{notes}"),
        free_bytes=1536,
        since=moment,
        share=0.5,
        which=["a", told("part", "b of {c}", c="d")],
    )
    assert str(found) == "1000 in /srv/{notes} take 1.5 KiB since 2026-11-26 20:06 UTC, by 0.5: a, b of d."
    assert found.next_step == "Look at /srv/{notes}."
    assert found.values == {
        "count": 1000,
        "place": "/srv/{notes}",
        "free_bytes": 1536,
        "since": "2026-11-26T20:06:03.000000Z",
        "share": 0.5,
        "which": ["a", {"message": "b of d", "code": "part", "next_step": "", "values": {"c": "d"}}],
    }
    assert json.loads(json.dumps(found.values)) == found.values


def test_of_many_things_the_first_are_named_and_the_rest_counted() -> None:
    assert str(told("x", "{all}", all=some(["a", "b"]))) == "a, b"
    assert str(told("x", "{all}", all=some(list("abcdefg")))) == "a, b, c, d, e and 2 more"


def test_of_more_things_than_are_known_by_name_the_rest_is_counted() -> None:
    assert str(told("x", "{all}", all=some(["a", "b", "c"], 2, 9))) == "a, b and 7 more"


def test_a_sentence_can_be_kept_in_a_set_and_sent_to_another_process() -> None:
    found = told("x", "{all}", all=["a"])
    assert {found, pickle.loads(pickle.dumps(found))} == {found}
    assert decode(Told, encode(found)) == found


def test_whole_sentences_follow_each_other_without_commas() -> None:
    assert str(told("x", "{all}", all=["It is.", "So."])) == "It is. So."


def test_an_error_is_told_by_its_code_and_its_english_words() -> None:
    error = Unavailable("engine_unavailable", "It is away.", next_step="Start it.")
    assert Told.of(error) == Told("It is away.", code="engine_unavailable", next_step="Start it.", values=None)
