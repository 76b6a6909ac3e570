"""Runs one target in this process, guided by coverage where atheris can be had, and by chance alone elsewhere."""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fuzzing.targets import TARGETS, Target

GUIDED: Final = find_spec("atheris") is not None
_INSTRUMENTED: Final = ["holdfast.engine", "holdfast.domain", "holdfast.api.schemas", "fuzzing"]


def run(name: str, *, runs: int | None, seconds: int | None, seed: int, found: Path | None) -> None:
    """Search until one of both bounds is reached; neither: as many runs as the target has in ``make test``.

    Args:
        found: directory for inputs that found something, kept from run to run; ``None`` forgets them.

    Ends the process: with 0 if nothing was found. What is found is told, and written to a file here.
    """
    if GUIDED:
        _guided(TARGETS[name], runs, seconds, seed, found)
    else:
        _by_chance(TARGETS[name], runs, seconds, seed)


def _guided(target: Target, runs: int | None, seconds: int | None, seed: int, found: Path | None) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        read, corpus = target.run, target.seeds()
    # Here, among what is found: the process is ended from within, and nobody removes them.
    with tempfile.TemporaryDirectory(prefix="seeds-", dir=".") as seeds:
        for number, content in enumerate(corpus):
            Path(seeds, f"{number:04}").write_bytes(content)
        bounds = [] if seconds is None else [f"-max_total_time={seconds}"]
        if runs is not None or seconds is None:
            bounds.append(f"-runs={target.runs if runs is None else runs}")
        kept = [] if found is None else [str(found)]
        options = [f"-seed={seed}", f"-max_len={target.longest}", "-timeout=60", "-rss_limit_mb=2048", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, *bounds, "-print_final_stats=1", *kept, seeds], read)
        atheris.Fuzz()


def _by_chance(target: Target, runs: int | None, seconds: int | None, seed: int) -> None:
    read, seeds = target.run, target.seeds()
    chance = random.Random(seed)
    end = None if seconds is None else time.monotonic() + seconds
    most = target.runs if runs is None and seconds is None else runs
    done = 0
    for content in seeds:
        read(content)
        done += 1
    while (most is None or done < most) and (end is None or time.monotonic() < end):
        read(_changed(chance, seeds)[: target.longest])
        done += 1
    print(f"stat::number_of_executed_units: {done}")
    sys.exit(0)


def _changed(chance: random.Random, seeds: list[bytes]) -> bytes:
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(3):
            case 0:
                content[at : at + chance.randrange(8)] = chance.randbytes(chance.randrange(8))
            case 1:
                other = chance.choice(seeds)
                content[at:] = other[at:]
            case _:
                del content[at : at + chance.randrange(600)]
    return bytes(content)
