"""Every reader, fuzzed for a fixed number of inputs; and what the fuzzers hold against a reader, shown to be found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing.archives import read_compressed, read_tar
from fuzzing.documents import journal_seeds, manifest_seeds, read_journal, read_manifest
from fuzzing.repository import pack_seeds, read_pack, read_tree
from fuzzing.targets import TARGETS

from holdfast.engine import journal_codec, limits, manifest_codec
from holdfast.engine.archive import extended, importer, names, source, tar_headers
from holdfast.engine.archive import format as archive_format
from holdfast.engine.repository import pack, tree
from holdfast.testing.raw_tar import END, FILE, ROOT, gzipped, header, manifest, member, pax

HOME = Path(__file__).parents[3]
LONG = ("--seconds=120",) if os.environ.get("HOLDFAST_TORTURE") else ()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_reader(name: str, tmp_path: Path, figure: Callable[[str, int], None]) -> None:
    done = run("-m", "fuzzing", name, *LONG, at=tmp_path)
    assert done.returncode == 0, done.stdout
    said = re.search(r": ([0-9,]+) inputs", done.stdout)
    assert said is not None
    inputs = int(said[1].replace(",", ""))
    assert inputs >= TARGETS[name].runs
    figure("fuzz executions", inputs)


def run(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=at,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )


PLANTED = """
import sys
from fuzzing import driver, targets

def broken(data):
    assert data[:2] != b"ab"
    return True

def corpus():
    return [b"ab"]

targets.TARGETS["planted"] = targets.Target(module="__main__", reader="broken", corpus="corpus", runs=10, longest=9)
driver.GUIDED = {guided}
driver.run("planted", runs=None, seconds=None, seed=1, found=None)
"""


@pytest.mark.parametrize("guided", ["driver.GUIDED", "False"])
def test_what_breaks_ends_the_search_with_an_error(guided: str, tmp_path: Path) -> None:
    done = run("-c", PLANTED.format(guided=guided), at=tmp_path)
    assert done.returncode != 0
    assert "AssertionError" in done.stdout + done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_some_seeds_are_accepted_and_so_the_search_gets_beyond_refusals(name: str) -> None:
    target = TARGETS[name]
    assert any(target.run(seed) for seed in target.seeds())


# --- each with one protection taken out ------------------------------------------------------------------------------


def test_a_reader_that_takes_names_as_they_are_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "normalise", lambda raw, *, directory: raw.rstrip(b"/") if directory else raw)
    monkeypatch.setattr(importer, "check_entry", lambda _entry: None)
    with pytest.raises(AssertionError):
        read_tar(b"\0" + ROOT + member(b"0/../file") + manifest() + END)


def test_a_reader_that_passes_over_checksums_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_headers, "_checksum_matches", lambda _block: True)
    with pytest.raises((AssertionError, tarfile.TarError)):
        read_tar(b"\0" + ROOT + header(b"0/file", checksum=b"000001\0 ") + manifest() + END)


def test_a_reader_that_lets_the_second_of_two_sizes_count_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extended.Extended, "size", lambda _self, head: head.size)
    with pytest.raises(AssertionError):
        read_tar(b"\0" + ROOT + pax((b"size", b"3")) + FILE + manifest() + END)


def test_a_reader_without_limits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Tally, "entry", lambda _self, _entry: None)
    with pytest.raises(AssertionError):
        read_tar(b"\0" + ROOT + pax((b"path", b"0" + b"/d" * 30)) + FILE + manifest() + END)


def test_a_reader_of_more_than_one_member_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source.GzipSource, "_expect_padding", lambda _self: None)
    with pytest.raises(AssertionError):
        read_compressed(gzipped(b"one") + gzipped(b"two"))


def test_a_manifest_reader_without_bounds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_format, "check_volumes", lambda _volumes: None)
    with pytest.raises(AssertionError):
        read_manifest(b'\0[{"index":7,"target":"/../etc","scope":"stage","source":"a"}]')
    monkeypatch.setattr(manifest_codec, "check_volumes", lambda _volumes: None)
    hostile = next(seed for seed in manifest_seeds() if seed[:1] == b"\x40").replace(b'"index":0', b'"index":9')
    with pytest.raises(AssertionError):
        read_manifest(hostile)


def test_a_journal_reader_that_takes_any_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = list(journal_seeds())[3]
    lines = seed[1:].splitlines(keepends=True)
    exchanged = b"\x40" + b"".join([lines[0], lines[2].replace(b'"seq":3', b'"seq":2')])
    assert not read_journal(exchanged)
    monkeypatch.setattr(journal_codec, "out_of_order", lambda _records: None)
    with pytest.raises(AssertionError):
        read_journal(exchanged)


def test_a_journal_reader_that_passes_over_checksums_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = next(iter(journal_seeds())).replace(b'"actor":"ada"', b'"actor":"eve"')
    assert not read_journal(changed)
    monkeypatch.setattr(journal_codec, "_matches", lambda _line: True)
    with pytest.raises(AssertionError):
        read_journal(changed)


def test_a_pack_reader_that_believes_a_trailer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(next(seed for seed in pack_seeds() if seed[:1] == b"\x40"))
    monkeypatch.setattr(
        pack, "_decode_trailer", lambda _payload, end: (pack.FrameInfo(48, end + 10**6, bytes(32), ()),)
    )
    with pytest.raises(AssertionError):
        read_pack(bytes(content))


def test_a_tree_reader_that_takes_half_an_id_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "split_list", lambda chunk: [bytes(chunk)])
    monkeypatch.setattr("fuzzing.repository.split_list", tree.split_list)
    with pytest.raises(AssertionError):
        read_tree(b"\0" + bytes(31))
