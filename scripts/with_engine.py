#!/usr/bin/env python3
"""Run a command with a Docker Engine at hand.

    scripts/with_engine.py [--fresh] [--tests] [--run-dir DIRECTORY] -- COMMAND [ARGUMENT …]
    scripts/with_engine.py --clean

Uses the engine that answers at DOCKER_HOST or at the system's socket. Where none does, starts one on directories of its
own, tells the command by DOCKER_HOST, and stops it afterwards. Runs at the same time share that engine; the last one
stops it. Images and containers in it are kept for the next run; ``--fresh`` and ``--clean`` remove them. ``--tests``
takes another engine than ``make serve`` does, emptied first: what a killed run of tests left would otherwise be started
again with the engine, and some of that crashes and is restarted for ever. The exit code is the command's. Standard
library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from holdfast.testing.docker_engine import DEFAULT_HOST, DockerEngine, EngineTrouble, answers


def main(arguments: Sequence[str]) -> int:
    """Read the command line and do as it says. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="with_engine.py", description="Run a command with a Docker Engine at hand.", allow_abbrev=False
    )
    parser.add_argument("--fresh", action="store_true", help="empty our own engine first")
    parser.add_argument("--tests", action="store_true", help="use an engine for tests alone, emptied first")
    parser.add_argument("--clean", action="store_true", help="stop and remove our own engine, and run nothing")
    parser.add_argument("--run-dir", type=Path, help="where our own engine keeps its things")
    parser.add_argument("command", nargs="*", help="what to run, after --")
    options = parser.parse_args(arguments)
    if not options.command and not options.clean:
        parser.error("say what to run, after --")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        if options.clean:
            given = [options.run_dir] if options.run_dir else [_default_run_dir(), _default_run_dir("tests")]
            return max(map(_clean, given))
        host = _running_engine()
        if host is not None:
            say(f"using the engine at {host}")
            return _run(options.command, host)
        run_dir = options.run_dir or _default_run_dir("tests" if options.tests else "engine")
        with _own_engine(run_dir, fresh=options.fresh or options.tests) as engine:
            return _run(options.command, engine.host)
    except EngineTrouble as trouble:
        say(str(trouble))
        return 1


def say(line: str) -> None:
    """One line about what is done, apart from the command's own output."""
    print(f"with_engine: {line}", file=sys.stderr, flush=True)


def _default_run_dir(purpose: str = "engine") -> Path:
    return Path(tempfile.gettempdir()) / f"holdfast-{purpose}-{os.getuid()}"


def _running_engine() -> str | None:
    given = os.environ.get("DOCKER_HOST")
    if given and not answers(given):
        say(f"no engine answers at DOCKER_HOST ({given})")
    return next((host for host in (given, DEFAULT_HOST) if host and answers(host)), None)


@contextlib.contextmanager
def _own_engine(run_dir: Path, *, fresh: bool) -> Iterator[DockerEngine]:
    """Our own engine, started by the first of those who run at the same time and stopped by the last."""
    engine = DockerEngine(_private(run_dir) / "engine", say=say)
    with (run_dir / "users.lock").open("w") as users:
        with _turn(run_dir):
            alone = _lock(users, fcntl.LOCK_EX)
            if fresh and not alone:
                say("another run uses our engine; it is not emptied")
            if fresh and alone:
                say("emptying our engine")
                engine.discard()
            if engine.answers():
                say(f"using our engine below {engine.run_dir}, which runs already")
            else:
                say(f"no engine runs; starting one below {engine.run_dir}, to be stopped afterwards")
                engine.start()
            _lock(users, fcntl.LOCK_SH)
        try:
            yield engine
        finally:
            with _turn(run_dir):
                # Without a word: the last line on the terminal is the command's own.
                if _lock(users, fcntl.LOCK_EX):
                    engine.stop()


def _clean(run_dir: Path) -> int:
    if not run_dir.exists():
        return 0
    with (_private(run_dir) / "users.lock").open("w") as users, _turn(run_dir):
        if not _lock(users, fcntl.LOCK_EX):
            say("another run uses our engine; nothing was removed")
            return 1
        say(f"removing our engine below {run_dir}")
        DockerEngine(run_dir / "engine", say=say).discard()
    return 0


def _private(run_dir: Path) -> Path:
    """The directory, made if need be, and nobody else's: its name can be foreseen."""
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = run_dir.lstat()
    if run_dir.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        raise EngineTrouble(f"{run_dir} belongs to somebody else or others may write to it; give another --run-dir.")
    return run_dir


@contextlib.contextmanager
def _turn(run_dir: Path) -> Iterator[None]:
    """One at a time decides about starting and stopping."""
    with (run_dir / "turn.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _run(command: Sequence[str], host: str) -> int:
    """Run the command; what asks us to end asks it, and its exit code is ours."""
    with subprocess.Popen(list(command), env={**os.environ, "DOCKER_HOST": host}) as child:

        def forward(number: int, _frame: FrameType | None) -> None:
            child.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, forward)
        # Ctrl-C at a terminal reaches the command by itself; a second one would make it skip its own tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN if sys.stdin.isatty() else forward)
        code = child.wait()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return code if code >= 0 else 128 - code


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
