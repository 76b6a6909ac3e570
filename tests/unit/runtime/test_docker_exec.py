"""Which processes are killed with a command: all that are its own, and none that are not the container's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.domain.errors import Failed
from holdfast.runtime import docker_exec
from holdfast.runtime.docker_client import DockerClient

LEADER = """
import subprocess, sys
left_behind = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
subprocess.run([sys.executable, "-c", left_behind], check=True)
print("ready", flush=True)
sys.stdin.read()
"""
"""A command that has put a process into the background, whose parent is gone."""


class Engine:
    """Knows of one command, which is a process here, prints nothing, and whose output never ends.

    Args:
        unsaid: answers after the start in which it does not say yet that the command runs.
        without_pid: answers after these in which it does, and does not know the process yet.
    """

    timeout = 20.0

    def __init__(self, process: subprocess.Popen[bytes], *, unsaid: int = 0, without_pid: int = 0) -> None:
        self._process = process
        self._unsaid = unsaid
        self._without_pid = without_pid
        self.asked_to_start = asyncio.Event()

    async def ask(self, _method: str, _path: str, *, body: object = None) -> dict[str, Any]:
        del body
        if self.asked_to_start.is_set() and (self._unsaid or self._without_pid):
            running = not self._unsaid
            self._without_pid -= running
            self._unsaid -= not running
            return {"Id": "exec", "Running": running, "Pid": 0, "ExitCode": None}
        code = self._process.poll()
        return {"Id": "exec", "Running": code is None, "Pid": self._process.pid, "ExitCode": code}

    @asynccontextmanager
    async def stream(self, _method: str, _path: str, *, body: object) -> AsyncIterator[AsyncIterator[bytes]]:
        assert body
        self.asked_to_start.set()
        yield self._output()

    async def _output(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


@pytest.fixture
def command() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)


def in_session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(facts[3]) == leader and facts[0] not in "XxZ":
            found.append(int(stat.parent.name))
    return found


def group_of(process: subprocess.Popen[bytes]) -> str:
    """What stands for the container's id in the control groups of a process."""
    return Path(f"/proc/{process.pid}/cgroup").read_text().strip()


async def end(process: subprocess.Popen[bytes], container_id: str) -> bool:
    return await docker_exec.end(cast("DockerClient", Engine(process)), container_id, "exec")


async def test_a_command_ends_with_what_it_put_into_the_background(command: subprocess.Popen[bytes]) -> None:
    assert len(in_session(command.pid)) == 2
    assert await end(command, group_of(command))
    assert command.returncode == -signal.SIGKILL
    assert in_session(command.pid) == []


async def test_a_command_that_takes_too_long_is_named_in_one_line_however_long_it_is(
    command: subprocess.Popen[bytes],
) -> None:
    client = cast("DockerClient", Engine(command))
    with pytest.raises(Failed) as caught:
        await docker_exec.run(client, group_of(command), ["sh", "-c", "sleep\n\x1b[2J" * 1000], 0.1)
    assert caught.value.code == "exec_timeout"
    assert "The command sh -c sleep" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


async def test_a_command_that_is_given_up_while_it_is_being_started_is_killed_once_it_runs(
    command: subprocess.Popen[bytes],
) -> None:
    engine = Engine(command, unsaid=4, without_pid=4)
    given_up = asyncio.create_task(docker_exec.run(cast("DockerClient", engine), group_of(command), ["hold"], 60))
    await engine.asked_to_start.wait()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert in_session(command.pid) == []


async def test_a_command_that_is_too_late_before_the_engine_has_its_process_is_killed_once_it_runs(
    command: subprocess.Popen[bytes],
) -> None:
    client = cast("DockerClient", Engine(command, unsaid=4, without_pid=4))
    with pytest.raises(Failed, match="was killed") as caught:
        await docker_exec.run(client, group_of(command), ["hold"], 0.01)
    assert caught.value.details["killed"] is True
    assert in_session(command.pid) == []


async def test_a_process_that_is_none_of_the_containers_is_never_killed(command: subprocess.Popen[bytes]) -> None:
    # A pid as the engine tells it means another process where the engine counts processes for itself, or was given
    # away meanwhile.
    assert not await end(command, "3f" * 32)
    assert command.poll() is None
    assert len(in_session(command.pid)) == 2


async def test_a_command_that_has_ended_is_left_alone_with_what_it_left_behind(
    command: subprocess.Popen[bytes],
) -> None:
    group = group_of(command)
    assert command.stdin is not None
    command.stdin.close()
    await asyncio.to_thread(command.wait)
    assert await end(command, group)
    assert len(in_session(command.pid)) == 1
