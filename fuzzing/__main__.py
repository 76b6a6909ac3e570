"""``python -m fuzzing [TARGET …] [--seconds N | --runs N]``: fuzz readers, each in a process of its own.

An input that breaks something is written to a file ``crash-…`` in the working directory, and told. ``python -m fuzzing
TARGET --replay FILE`` reads it again, without the search.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from fuzzing.driver import GUIDED, run
from fuzzing.targets import TARGETS

_EXECUTED: Final = re.compile(r"number_of_executed_units:\s*(\d+)")


def main() -> int:
    """Returns 0 if nothing was found, 1 if something was, 2 for wrong arguments."""
    given = argparse.ArgumentParser(
        prog="python -m fuzzing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given.add_argument("targets", nargs="*", metavar="target", help=f"{', '.join(TARGETS)}; all, if none is named")
    given.add_argument("--seconds", type=int, help="how long to search, for each target")
    given.add_argument("--runs", type=int, help="how many inputs, for each target; without both, as make test does")
    given.add_argument("--seed", type=int, default=1, help="what the search draws from; 1")
    given.add_argument("--found", type=Path, help="keep inputs that reach something new in this directory, by target")
    given.add_argument("--replay", type=Path, help="read one file, once")
    given.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = given.parse_args()
    unknown = set(chosen.targets) - set(TARGETS)
    if unknown or ((chosen.replay or chosen.here) and len(chosen.targets) != 1):
        given.error(f"choose among the targets {', '.join(TARGETS)}")
    if chosen.replay:
        return _replay(chosen.targets[0], chosen.replay)
    found = chosen.found and chosen.found / chosen.targets[0] if chosen.here else None
    if chosen.here:
        run(chosen.targets[0], runs=chosen.runs, seconds=chosen.seconds, seed=chosen.seed, found=found)
    return 1 if [name for name in chosen.targets or TARGETS if not _in_its_own_process(name, chosen)] else 0


def _in_its_own_process(name: str, chosen: argparse.Namespace) -> bool:
    if chosen.found:
        (chosen.found / name).mkdir(parents=True, exist_ok=True)
    options = [
        f"--{key}={getattr(chosen, key)}" for key in ("seconds", "runs", "seed", "found") if getattr(chosen, key)
    ]
    done = subprocess.run(
        [sys.executable, "-m", "fuzzing", name, "--here", *options], capture_output=True, text=True, check=False
    )
    executed = _EXECUTED.search(done.stdout + done.stderr)
    if done.returncode or executed is None:
        print(f"{name}: something was found\n{done.stdout[-4000:]}{done.stderr[-8000:]}", flush=True)
        return False
    how = "guided by coverage" if GUIDED else "by chance: atheris can't be had for this Python or machine"
    print(f"{name}: {int(executed[1]):,} inputs, {how}; nothing found", flush=True)
    return True


def _replay(name: str, path: Path) -> int:
    print("accepted" if TARGETS[name].run(path.read_bytes()) else "refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
