"""Commands inside containers, and their end.

A command started by the engine survives the client that asked for it: to stop waiting is not to stop it. At its time
limit its process and everything below it are killed by their host pids, each held by a descriptor first, so that a pid
that was given away meanwhile is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from aiodocker import DockerError

from holdfast.domain.errors import Failed
from holdfast.runtime.docker_client import DockerClient, refused, unknown_container
from holdfast.runtime.docker_streams import frames
from holdfast.runtime.port import ExecResult

_OUTPUT: Final = 1 << 20
"""Bytes of output that are kept, the last ones."""
_POLL: Final = 0.02
"""Seconds between two looks at whether a process has ended."""


async def run(client: DockerClient, container_id: str, command: Sequence[str], timeout: float) -> ExecResult:
    """Run ``command`` in a container for at most ``timeout`` seconds.

    Raises:
        NotFound: the container is not there.
        Failed: ``exec_timeout`` when it took too long and was killed; ``engine_error`` when it could not run.
    """
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command)}
    try:
        made = await client.ask("POST", f"containers/{container_id}/exec", body=body)
        try:
            async with asyncio.timeout(timeout):
                output = await _output(client, made["Id"])
                facts = await _ended(client, made["Id"])
        except TimeoutError as error:
            killed = await _kill(client, made["Id"], container_id)
            raise _timed_out(command, timeout, killed=killed) from error
        except BaseException:
            # Whoever is no longer waiting has given the command up; it must not write on behind their back.
            with contextlib.suppress(Exception):
                await asyncio.shield(_kill(client, made["Id"], container_id))
            raise
    except DockerError as error:
        raise refused(error, unknown_container(container_id)) from error
    return ExecResult(code=int(facts["ExitCode"]), output=output.decode(errors="replace"))


async def _output(client: DockerClient, exec_id: str) -> bytes:
    kept = bytearray()
    start = client.stream("POST", f"exec/{exec_id}/start", body={"Detach": False, "Tty": False})
    async with start as pieces, aclosing(frames(pieces)) as output:
        async for _, payload in output:
            kept += payload
            del kept[:-_OUTPUT]
    return bytes(kept)


async def _ended(client: DockerClient, exec_id: str) -> dict[str, Any]:
    """The facts of a command once the engine has noticed its end, which may be just after that of its output."""
    while True:
        facts: dict[str, Any] = await client.ask("GET", f"exec/{exec_id}/json")
        if not facts["Running"] and facts["ExitCode"] is not None:
            return facts
        await asyncio.sleep(_POLL)


async def _kill(client: DockerClient, exec_id: str, container_id: str) -> bool:
    """Kill the command's process and what it started. Returns whether it is known to have ended."""
    facts = await client.ask("GET", f"exec/{exec_id}/json")
    if not facts["Running"]:
        return True
    pid = int(facts["Pid"] or 0)
    if not pid or not _kill_tree(pid, container_id):
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(client.timeout):
            await _ended(client, exec_id)
            return True
    return False


def _kill_tree(pid: int, container_id: str) -> bool:
    """Kill a process of the container and all below it. Returns whether it could be done from here."""
    with contextlib.ExitStack() as held:
        victims: list[int] = []
        for process in [pid, *_descendants(pid)]:
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
        return bool(victims)


def _belongs(pid: int, container_id: str) -> bool:
    """Whether a process is in the container's control group: proof that the pid is seen from the engine's own view."""
    try:
        with open(f"/proc/{pid}/cgroup") as groups:
            return container_id in groups.read()
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


def _timed_out(command: Sequence[str], timeout: float, *, killed: bool) -> Failed:
    what = " ".join(command)
    if killed:
        return Failed(
            "exec_timeout",
            f"The command {what} did not end within {timeout:g} s and was killed.",
            next_step="Look at what the command waits for, or give it more time.",
            details={"killed": True},
        )
    return Failed(
        "exec_timeout",
        f"The command {what} did not end within {timeout:g} s; it could not be killed and may still run.",
        next_step="Stop the container to end it, then look at what the command waits for.",
        details={"killed": False},
    )
