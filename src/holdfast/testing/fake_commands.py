"""Commands in the containers of the fake engine: what they print, how they end, and those that hang."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast.domain.errors import Failed
from holdfast.runtime.port import Container, ExecResult
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.fake_records import KILLED, FakeContainer

ExecBehaviour = Callable[[Container, Sequence[str]], ExecResult]
"""What a command does in a container. Raise ``TimeoutError`` for a command that was killed at its time limit."""


class FakeCommands:
    """Runs them.

    Attributes:
        told: what commands do in any container, in this process; others do what the container's image knows.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self.told: dict[str, ExecBehaviour] = {}
        self._engine = engine
        self._killed: dict[str, asyncio.Event] = {}

    async def run(self, container: FakeContainer, exec_id: str, command: Sequence[str], timeout: float) -> ExecResult:
        """Run it to its end. While it runs, the engine's state says so."""
        container.ran.append(" ".join(command))
        container.running[exec_id] = " ".join(command)
        self._engine.save()
        try:
            return await self._result(container, exec_id, command, timeout)
        except TimeoutError as hanging:
            raise Failed(
                "exec_timeout",
                f"The command {' '.join(command)} did not end within {timeout:g} s and was killed.",
                next_step="Look at what the command waits for, or give it more time.",
                details={"killed": True},
            ) from hanging
        finally:
            container.running.pop(exec_id, None)
            self._engine.save()

    def end(self, container_id: str, exec_id: str) -> None:
        """Kill it, if it runs."""
        container = self._engine.state.containers.get(container_id)
        if container is not None:
            container.running.pop(exec_id, None)
        if exec_id in self._killed:
            self._killed[exec_id].set()

    async def _result(
        self, container: FakeContainer, exec_id: str, command: Sequence[str], timeout: float
    ) -> ExecResult:
        told = self.told.get(" ".join(command))
        if told is not None:
            return told(self._engine.public(container), command)
        known = self._engine.behaviour(container).commands.get(" ".join(command))
        if known is None:
            return ExecResult(code=127, output=f'exec: "{command[0]}": executable file not found in $PATH\n')
        if not known.hangs:
            return ExecResult(code=known.code, output=known.output)
        killed = self._killed[exec_id] = asyncio.Event()
        try:
            await asyncio.wait_for(killed.wait(), timeout)
        finally:
            del self._killed[exec_id]
        return ExecResult(code=KILLED, output=known.output)
