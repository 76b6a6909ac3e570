"""Ids sort in the order in which they were made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from holdfast.domain import ids


def test_a_later_id_sorts_after_an_earlier_one_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    second = 1_000_000_000
    moments = iter([5 * second] * 50 + [2 * second] * 50 + [6 * second] * 50)
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: next(moments)))
    monkeypatch.setattr(ids, "_numbers", ids._Numbers())
    made = [ids.new_id() for _ in range(150)]
    assert made == sorted(set(made))
    assert all(map(ids.is_id, made))
