"""Commands inside containers, and their end.

A command started by the engine survives the client that asked for it: to stop waiting is not to stop it. At its time
limit its process, everything below it and everything in its session are killed by their host pids, each held by a
descriptor first, so that a pid that was given away meanwhile is never hit. The engine makes each command the leader of
a session of its own, so that what it put into the background is found although its parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from aiodocker import DockerError

from holdfast.domain.errors import Failed
from holdfast.domain.printable import printable
from holdfast.runtime.docker_client import DockerClient, refused, unknown_container
from holdfast.runtime.docker_streams import frames
from holdfast.runtime.port import ExecResult, OnMade

_OUTPUT: Final = 1 << 20
"""Bytes of output that are kept, the last ones."""
_NOT_FOUND: Final = 404
_DEAD: Final = frozenset("XxZ")
_ROUNDS: Final = 20
"""Looks for processes to kill: one that is just being started is there at the next look."""
_TOLD: Final = 4096
"""Bytes of them that go into an error."""
_NAMED: Final = 200
"""Characters of a command that name it in an error."""
_STARTING: Final = 5.0
"""Seconds in which a busy engine says of a command that it runs, once it was told to start it."""
_POLL: Final = 0.02
"""Seconds between two looks at whether a process has ended."""


async def run(
    client: DockerClient, container_id: str, command: Sequence[str], timeout: float, on_made: OnMade | None = None
) -> ExecResult:
    """Run ``command`` in a container for at most ``timeout`` seconds.

    Raises:
        NotFound: the container is not there.
        Failed: ``exec_timeout`` when it took too long and was killed; ``engine_error`` when it could not run.
    """
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command)}
    try:
        made = await client.ask("POST", f"containers/{container_id}/exec", body=body)
        if on_made is not None:
            await on_made(str(made["Id"]))
        output = bytearray()
        try:
            async with asyncio.timeout(timeout):
                await _output(client, made["Id"], output)
                facts = await _ended(client, made["Id"])
        except TimeoutError as error:
            killed = await _kill(client, made["Id"], container_id)
            raise _timed_out(command, timeout, killed=killed, output=output) from error
        except BaseException:
            # Whoever is no longer waiting has given the command up; it must not write on behind their back.
            with contextlib.suppress(Exception):
                await asyncio.shield(_kill(client, made["Id"], container_id))
            raise
    except DockerError as error:
        raise refused(error, unknown_container(container_id)) from error
    return ExecResult(code=int(facts["ExitCode"]), output=output.decode(errors="replace"))


async def end(client: DockerClient, container_id: str, exec_id: str) -> bool:
    """Kill a command if it still runs. Returns whether it is known not to."""
    try:
        return await _kill(client, exec_id, container_id)
    except DockerError as error:
        if error.status == _NOT_FOUND:
            return True  # with its container, or forgotten after its end
        raise refused(error) from error


async def _output(client: DockerClient, exec_id: str, kept: bytearray) -> None:
    """Start the command, and keep what it prints until it ends."""
    start = client.stream("POST", f"exec/{exec_id}/start", body={"Detach": False, "Tty": False})
    async with start as pieces, aclosing(frames(pieces)) as output:
        async for _, payload in output:
            kept += payload
            del kept[:-_OUTPUT]


async def _ended(client: DockerClient, exec_id: str) -> dict[str, Any]:
    """The facts of a command once the engine has noticed its end, which may be just after that of its output."""
    while True:
        facts: dict[str, Any] = await client.ask("GET", f"exec/{exec_id}/json")
        if not facts["Running"] and facts["ExitCode"] is not None:
            return facts
        await asyncio.sleep(_POLL)


async def _kill(client: DockerClient, exec_id: str, container_id: str) -> bool:
    """Kill the command's process and what it started. Returns whether it is known to have ended."""
    facts = await _begun(client, exec_id)
    if not facts["Running"]:
        return True
    pid = int(facts["Pid"] or 0)
    if not pid or not await asyncio.to_thread(_kill_tree, pid, container_id):
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(client.timeout):
            await _ended(client, exec_id)
            return True
    return False


async def _begun(client: DockerClient, exec_id: str) -> dict[str, Any]:
    """The facts of a command once it has a process or has ended.

    The engine may have been told to start it just now: it says that a command runs before it knows its process, and
    takes a moment to say even that. One that never shows within this time was never started.
    """
    asked = time.monotonic()
    while True:
        facts: dict[str, Any] = await client.ask("GET", f"exec/{exec_id}/json")
        begun = facts["ExitCode"] is not None or (facts["Running"] and facts["Pid"])
        if begun or time.monotonic() - asked > (client.timeout if facts["Running"] else _STARTING):
            return facts
        await asyncio.sleep(_POLL)


def _kill_tree(pid: int, container_id: str) -> bool:
    """Kill a process of the container, all below it and all of its session. Returns whether that was done from here."""
    done = False
    for _ in range(_ROUNDS):
        with contextlib.ExitStack() as held:
            victims: list[int] = []
            for process in {pid, *_descendants(pid), *_session(pid)}:
                try:
                    descriptor = os.pidfd_open(process)
                except OSError:
                    continue
                held.callback(os.close, descriptor)
                if _belongs(process, container_id):
                    victims.append(descriptor)
            for descriptor in victims:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not victims:
                break
            done = True
            time.sleep(_POLL)
    return done


def _session(leader: int) -> list[int]:
    """The processes whose session ``leader`` leads, or led: its number is given away only when all of them are gone."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _stat(int(entry))[1] == leader]


def _stat(pid: int) -> tuple[str, int]:
    """State and session of a process; ``X`` (dead) and 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as stat:
            # pid (comm) state ppid pgrp session …; the command's name may hold anything, parentheses too
            facts = stat.read().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return facts[0], int(facts[3])


def _belongs(pid: int, container_id: str) -> bool:
    """Whether a process lives in the container's control group: proof that the pid is of the engine's own view."""
    try:
        with open(f"/proc/{pid}/cgroup") as groups:
            return container_id in groups.read() and _stat(pid)[0] not in _DEAD
    except OSError:
        return False


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as children:
                    found += map(int, children.read().split())
        except OSError:
            continue
    return found[1:]


def _named(command: Sequence[str]) -> str:
    """A command as a message names it: one line, and its beginning if it is long."""
    text = printable(" ".join(command))
    return text if len(text) <= _NAMED else f"{text[:_NAMED]} …"


def _timed_out(command: Sequence[str], timeout: float, *, killed: bool, output: bytearray) -> Failed:
    what = _named(command)
    details = {"killed": killed, "output": output[-_TOLD:].decode(errors="replace")}
    if killed:
        return Failed(
            "exec_timeout",
            f"The command {what} did not end within {timeout:g} s and was killed.",
            next_step="Look at what the command waits for, or give it more time.",
            details=details,
        )
    return Failed(
        "exec_timeout",
        f"The command {what} did not end within {timeout:g} s; it could not be killed and may still run.",
        next_step="Stop the container to end it, then look at what the command waits for.",
        details=details,
    )
