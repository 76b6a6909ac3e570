"""A container attacks its volume while it is captured, compared, staged, caught up and removed: nothing outside of it
is ever opened, read, changed or removed (I7), and whatever works on it comes to an end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.unit.engine.part_bench import PartBench

from holdfast.domain.errors import HoldfastError
from holdfast.engine.diff import diff, measure
from holdfast.engine.job import QuietJob
from holdfast.engine.remove_tree import remove_tree
from holdfast.engine.swap import remove_wrapper
from holdfast.testing.attacker import Attacker, Canary, WatchedFs, leaked, tight_loop

SEEDS = range(200 if os.environ.get("HOLDFAST_TORTURE") else 3)


class Attacked:
    """A volume under attack: every kind of work on it, one after the other."""

    def __init__(self, base: Path, seed: int, kind: type[WatchedFs] = WatchedFs) -> None:
        self.canary = Canary(base / "canary")
        (base / "volume").mkdir()
        self.fs = kind(self._move, self.canary.path)
        self.attacking = False
        self.bench = PartBench(base / "volume", self.fs)
        self.attacker = Attacker(self.bench.live, self.canary.path, seed)
        self.packs = base / "volume" / "store" / "packs"
        self.done = 0
        self.errors: list[str] = []

    def _move(self) -> None:
        if self.attacking:
            self.attacker.step()

    def close(self) -> None:
        self.attacking = False
        self.attacker.close()
        self.bench.close()

    def run(self) -> list[str]:
        """All kinds of work. Returns what must not have happened."""
        bench, fs = self.bench, self.fs
        before = bench.capture()
        self.attacking = True
        for _ in range(2):
            self._try(bench.capture)
        self._try(lambda: diff(fs, bench.roots, bench.store, before, 0, bench.facts.live, QuietJob()))
        self._try(lambda: measure(fs, bench.roots, bench.facts.live, QuietJob()))
        for chosen in ((b"d0",), (b"d1/deep", b"passwd")):
            self._try(partial(bench.look, before, *chosen))
            self._try(partial(bench.stage, before, *chosen))
            self._try(bench.catch_up)
            self._try(lambda: bench.catch_up(bench.capture()))
            self._try(lambda: remove_wrapper(fs, bench.roots, bench.facts))
        self._try(self._remove)
        self.attacking = False
        unclear = [each for each in self.errors if "without" in each]
        return [*sorted(fs.findings), *self.canary.harm(), *leaked(self.packs), *unclear]

    def remove(self) -> list[str]:
        """Only that. Returns what must not have happened."""
        self.attacking = True
        self._try(self._remove)
        self.attacking = False
        return [*sorted(self.fs.findings), *self.canary.harm()]

    def _remove(self) -> None:
        """As a displaced tree is removed, with a process still in it that works on."""
        parent = os.open(self.bench.live.parent, os.O_RDONLY)
        try:
            remove_tree(self.fs, parent, os.fsencode(self.bench.live.name), QuietJob())
        finally:
            os.close(parent)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except HoldfastError as error:
            self.errors.append(error.code if error.next_step else f"{error.code}, without a next step")
        else:
            self.done += 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_before_every_call_reaches_nothing_outside(
    seed: int, tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    attacked = Attacked(tmp_path, seed)
    try:
        assert attacked.run() == []
        assert attacked.done >= 4
        assert attacked.attacker.flips > 1000
        figure("flips under attack", attacked.attacker.flips)
    finally:
        attacked.close()


def test_a_tight_loop_beside_all_work_reaches_nothing_outside(
    tmp_path: Path, figure: Callable[[str, int], None]
) -> None:
    attacked = Attacked(tmp_path, seed=1)
    try:
        with tight_loop(attacked.attacker, most=150_000):
            assert attacked.run() == []
        figure("flips under attack", attacked.attacker.flips)
    finally:
        attacked.close()


# --- with one protection taken out -----------------------------------------------------------------------------------


class FollowingFs(WatchedFs):
    """Without ``O_NOFOLLOW`` and ``RESOLVE_NO_SYMLINKS``."""

    def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=dirfd)

    def open_beneath(
        self, dirfd: int, relative: str | bytes, flags: int, *, mode: int = 0, no_xdev: bool = False
    ) -> int:
        with suppress(OSError):
            return os.open(relative, flags & ~os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dirfd)
        return super().open_beneath(dirfd, relative, flags, mode=mode, no_xdev=no_xdev)


class DirectFs(WatchedFs):
    """Opens for reading at once, without looking what it is; no symlinks are followed."""

    def open_beneath(
        self, dirfd: int, relative: str | bytes, flags: int, *, mode: int = 0, no_xdev: bool = False
    ) -> int:
        with suppress(OSError):
            return super().open_beneath(dirfd, relative, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, no_xdev=no_xdev)
        return super().open_beneath(dirfd, relative, flags, mode=mode, no_xdev=no_xdev)


def found_with(kind: type[WatchedFs], base: Path) -> str:
    attacked = Attacked(base, 3, kind)
    try:
        return "\n".join(attacked.run())
    finally:
        attacked.close()


def test_without_the_protection_against_symlinks_the_check_reports_the_canary(tmp_path: Path) -> None:
    found = found_with(FollowingFs, tmp_path)
    assert "opened the canary" in found
    assert "the canary's content is in a snapshot" in found
    assert "the canary's listing is in a snapshot" in found


def removed_with(kind: type[WatchedFs], base: Path, seed: int) -> str:
    attacked = Attacked(base, seed, kind)
    try:
        return "\n".join(attacked.remove())
    finally:
        attacked.close()


def test_without_it_removing_a_tree_is_reported_to_remove_the_canary(tmp_path: Path) -> None:
    seeds = range(40)
    assert any("the canary was changed" in removed_with(FollowingFs, made(tmp_path / f"{n}"), n) for n in seeds)
    assert not any(removed_with(WatchedFs, made(tmp_path / f"{n}-watched"), n) for n in seeds)


def made(path: Path) -> Path:
    path.mkdir()
    return path


def test_what_opens_before_it_looks_is_reported(tmp_path: Path) -> None:
    assert "opened what is no file: p" in found_with(DirectFs, tmp_path)


def test_the_checks_themselves_see_what_is_put_there(tmp_path: Path) -> None:
    canary = Canary(tmp_path / "canary")
    assert canary.harm() == []
    os.utime(canary.path / "passwd")
    (canary.path / "shadow").unlink()
    assert len(canary.harm()) == 3  # with the directory itself
