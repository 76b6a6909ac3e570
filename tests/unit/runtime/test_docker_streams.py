"""Streams of the Docker Engine, cut anywhere."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import Failed
from holdfast.runtime.docker_pull import PullProgress
from holdfast.runtime.docker_streams import frames, json_lines, log_lines


async def cut(stream: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


def frame(number: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", number, len(payload)) + payload


def collect(iterator: AsyncIterator[Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [item async for item in iterator]

    return asyncio.run(run())


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40))), st.integers(1, 30))
def test_frames_are_the_same_wherever_the_stream_is_cut(sent: list[tuple[int, bytes]], size: int) -> None:
    stream = b"".join(frame(number, payload) for number, payload in sent)
    names = {1: "stdout", 2: "stderr"}
    assert collect(frames(cut(stream, size))) == [(names[number], payload) for number, payload in sent]


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)), st.integers(1, 20))
def test_json_lines_are_the_same_wherever_the_stream_is_cut(sent: list[dict[str, int]], size: int) -> None:
    stream = b"\r\n".join(json.dumps(message).encode() for message in sent)
    assert collect(json_lines(cut(stream, size))) == sent


def test_output_that_is_not_multiplexed_is_an_error() -> None:
    with pytest.raises(Failed):
        collect(frames(cut(b"plain text of a terminal", 100)))


def test_a_line_stored_in_parts_is_one_line_with_its_first_time() -> None:
    stream = b"".join(
        [
            frame(1, b"T1 begins "),
            frame(2, b"T2 other\r\n"),
            frame(1, b"T3 and ends\n"),
            frame(1, b"T4 without an end"),
        ]
    )
    lines = collect(log_lines(cut(stream, 7)))
    assert [(line.at, line.stream, line.text) for line in lines] == [
        ("T2", "stderr", "other"),
        ("T1", "stdout", "begins and ends"),
        ("T4", "stdout", "without an end"),
    ]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert collect(log_lines(cut(frame(1, b"T \xff\n"), 9)))[0].text == "\ufffd"


def pulled(messages: Sequence[tuple[str, str, int, int]]) -> list[tuple[str, int, int | None]]:
    progress, seen = PullProgress(), []
    for layer, status, current, total in messages:
        if progress.take({"id": layer, "status": status, "progressDetail": {"current": current, "total": total}}):
            seen.append((progress.what, progress.done, progress.total))
    return seen


def test_the_progress_of_a_pull_is_the_sum_of_its_layers() -> None:
    assert pulled(
        [
            ("latest", "Pulling from app", 0, 0),
            ("z", "Already exists", 0, 0),
            ("a", "Pulling fs layer", 0, 0),
            ("b", "Pulling fs layer", 0, 0),
            ("a", "Downloading", 5, 10),
            ("b", "Downloading", 1, 20),
            ("a", "Download complete", 0, 0),
            ("b", "Verifying Checksum", 0, 0),
            ("a", "Extracting", 3, 10),
            ("a", "Pull complete", 0, 0),
        ]
    ) == [
        ("downloading", 0, None),
        ("downloading", 0, None),
        ("downloading", 5, None),
        ("downloading", 6, 30),
        ("downloading", 11, 30),
        ("unpacking", 30, 30),
        ("unpacking", 30, 30),
        ("unpacking", 30, 30),
    ]
