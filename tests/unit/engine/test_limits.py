"""What an archive is counted by before anything of it is read or made."""

import pytest

from holdfast.domain.errors import TooLarge
from holdfast.engine.entries import display_path
from holdfast.engine.limits import Limits, Tally


def test_an_extended_header_is_refused_by_its_announced_size() -> None:
    tally = Tally(Limits(pax_bytes=100))
    tally.pax(100)
    with pytest.raises(TooLarge) as caught:
        tally.pax(101)
    assert caught.value.code == "archive_pax_too_large"


def test_all_headers_together_are_bounded() -> None:
    tally = Tally(Limits(pax_bytes=100, header_bytes=250))
    tally.pax(100)
    tally.header(100)
    with pytest.raises(TooLarge) as caught:
        tally.pax(51)
    assert caught.value.code == "archive_headers_too_large"
    assert caught.value.details["limit"] == 250


def test_a_decompression_bomb_is_refused_and_a_short_text_that_compresses_well_is_not() -> None:
    tally = Tally(Limits(ratio=10, ratio_floor_bytes=1000))
    tally.expansion(1, 1000)
    tally.expansion(200, 2000)
    with pytest.raises(TooLarge) as caught:
        tally.expansion(199, 2000)
    assert caught.value.code == "archive_ratio_too_high"


def test_what_holdfast_captured_itself_is_bounded_by_the_disk_alone() -> None:
    limits = Limits.for_own_snapshots()
    assert min(limits.depth, limits.entries, limits.file_bytes, limits.total_bytes, limits.sparse_regions) == 2**63 - 1


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"plain/name", "plain/name"),
        ("ünïcode".encode(), "ünïcode"),
        (b"caf\xe9", "caf\\xe9"),
        (b"a\nforged log line\x1b[2J", "a\\nforged log line\\x1b[2J"),
        ("rtl\u202eoverride".encode(), "rtl\\u202eoverride"),
        (b"", "."),
    ],
)
def test_names_are_shown_without_harm(path: bytes, shown: str) -> None:
    assert display_path(path) == shown


def test_the_middle_of_a_path_that_nothing_else_can_name_is_not_shown() -> None:
    shown = display_path(b"first/" + b"d/" * 500_000 + b"last")
    assert shown.startswith("first/d/")
    assert shown.endswith("/d/last")
    assert len(shown) < 4200
