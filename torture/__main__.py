"""The long tests: ``make torture``, or ``python -m torture [PART …]``.

- ``kills``: the real server with a real engine of its own, killed at random moments, hundreds of times.
- ``faults``: the fault tests at full length.
- ``fuzz``: hostile inputs, for longer than ``make test`` does.

What is drawn depends on the seed alone, which is printed. SEED, ROUND, ROUNDS and MINUTES may also be given as
variables of the environment: ``make torture PARTS=kills ROUNDS=20 SEED=7``.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from holdfast.testing.docker_engine import EngineTrouble
from torture.kills import Options, run
from torture.leftovers import InUse, default_place
from torture.machine import Stuck

ROUNDS: Final = 300
_HOME: Final = Path(__file__).resolve().parent.parent
_AT_LENGTH: Final = "HOLDFAST_TORTURE"
"""The variable by which tests know that there is time."""
_ASKS: Final = re.compile(rf"\b(?:{_AT_LENGTH}|TORTURE)\b")
"""What stands in tests that ask for it: the variable, or a name for what it says."""


def main() -> int:
    """Do the parts that were asked for, in their order. Returns the exit code."""
    given = argparse.ArgumentParser(
        prog="python -m torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all, if none is named")
    given.add_argument("--seed", type=int, default=_number("SEED"), help="what everything is drawn from")
    given.add_argument(
        "--round", type=int, default=_number("ROUND"), help="the round of this number alone, or --rounds from it on"
    )
    given.add_argument("--rounds", type=int, default=_number("ROUNDS"), help=f"how many; {ROUNDS}, unless --minutes")
    given.add_argument("--minutes", type=float, default=_number("MINUTES"), help="begin no round after so many")
    given.add_argument("--place", type=Path, default=default_place(), help="a short path for disks and engines")
    chosen = given.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown:
        given.error(f"there is no part {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("broken off"))  # what was started and mounted is let go of
    try:
        failed = [part for part in chosen.parts or PARTS if not PARTS[part](chosen)]
    except KeyboardInterrupt:
        _say("broken off; what was started and mounted was let go of")
        return 128 + signal.SIGINT
    if failed:
        _say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _kills(chosen: argparse.Namespace) -> bool:
    one = chosen.round is not None
    bounded = chosen.minutes is None or chosen.rounds is not None
    options = Options(
        seed=secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed,
        rounds=(chosen.rounds or (1 if one else ROUNDS)) if bounded else None,
        first=chosen.round if one else 1,
        minutes=chosen.minutes,
        place=chosen.place.resolve(),
    )
    try:
        return run(options, _say)
    except (InUse, Stuck, EngineTrouble) as trouble:
        _say(str(trouble))
        return False


def _tests(wanted: Callable[[str], bool]) -> bool:
    """Run those of the tests that can be longer, with an engine at hand."""
    files = [path for path in sorted((_HOME / "tests").rglob("test_*.py")) if _ASKS.search(path.read_text())]
    paths = [str(path.relative_to(_HOME)) for path in files]
    tests = [sys.executable, "-m", "pytest", "-q", "--timeout", "3600", *filter(wanted, paths)]
    command = [sys.executable, "scripts/with_engine.py", "--", *tests]
    with subprocess.Popen(command, cwd=_HOME, env={**os.environ, _AT_LENGTH: "1"}) as running:
        try:
            return running.wait() == 0
        except SystemExit:
            running.terminate()  # it ends what it started, and is waited for
            raise


def _fuzzes(path: str) -> bool:
    """Whether a test is about hostile inputs."""
    return any(word in path for word in ("fuzz", "hostile", "attack"))


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise SystemExit(f"{name} has to be a number, not {text!r}")
    return int(text)


def _say(text: str) -> None:
    print(text, flush=True)


PARTS: Final[Mapping[str, Callable[[argparse.Namespace], bool]]] = {
    "kills": _kills,
    "faults": lambda _chosen: _tests(lambda path: not _fuzzes(path)),
    "fuzz": lambda _chosen: _tests(_fuzzes),
}


if __name__ == "__main__":
    sys.exit(main())
