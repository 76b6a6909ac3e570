"""Keeping what an instance printed before its container, and the engine's log with it, is removed.

Invariants:

- Nobody who removes a container fails or waits for long because its log can't be kept: the time for that is bounded,
  and so are the lines and the bytes; what went wrong is told in the server's own log.
- What is kept has the values of the workload's secrets taken out. Where they can't be opened, nothing is kept.
- A line that says so stands where lines are missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import Final

import structlog

from holdfast.domain.errors import HoldfastError
from holdfast.domain.logs import OWN_STREAM
from holdfast.domain.masking import Masked
from holdfast.engine.kept_logs import MOST_TEXT, KeptLogFiles, Printed
from holdfast.runtime.port import ContainerRuntime
from holdfast.services.sealed_values import SealedValues

MOST_LINES: Final = 10_000
"""The most lines that are kept of an instance: the last ones."""
PATIENCE: Final = 2.0
"""Seconds that keeping a log may delay a removal."""
_LEFT_OUT: Final = "What came before this was not kept."
_CUT_OFF: Final = "The engine was slow: what came after this was not kept."


class LogKeeping:
    """Keeps logs.

    Args:
        files: where; if they may take no bytes at all, nothing is kept.
        patience: seconds that keeping one may take.
    """

    def __init__(
        self, runtime: ContainerRuntime, files: KeptLogFiles, secrets: SealedValues, *, patience: float = PATIENCE
    ) -> None:
        self._runtime = runtime
        self._files = files
        self._secrets = secrets
        self._patience = patience
        self._log = structlog.get_logger("logs")

    async def keep(self, workload_id: str, container_id: str, instance: str) -> None:
        """Keep the log of a container that is about to be removed. Never fails.

        Args:
            instance: the container's name.
        """
        if not self._files.most:
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._keep(workload_id, container_id, instance)
        except TimeoutError:
            self._log.warning("a log is not kept: it took too long", instance=instance, seconds=self._patience)
        except HoldfastError as error:
            if error.code != "container_unknown":  # removed by somebody else
                self._log.warning("a log is not kept", instance=instance, code=error.code, reason=error.message)
        except Exception:  # noqa: BLE001 - a deployment or a restore goes on, whatever it is
            self._log.exception("a log is not kept", instance=instance)

    async def _keep(self, workload_id: str, container_id: str, instance: str) -> None:
        masked = await self._secrets.masked(workload_id)
        if not masked.complete:  # nobody could tell what is in it
            self._log.warning("a log is not kept: not all secrets of the workload can be opened", instance=instance)
            return
        lines = await self._printed(container_id)
        if lines:
            await asyncio.to_thread(self._write, workload_id, container_id, instance, lines, masked)

    async def _printed(self, container_id: str) -> deque[Printed]:
        """The last lines. If the engine is slow, those that came in half of the time."""
        lines: deque[Printed] = deque()
        size = 0
        left_out = False
        try:
            async with (
                asyncio.timeout(self._patience / 2),
                aclosing(self._runtime.logs(container_id, tail=MOST_LINES)) as printed,
            ):
                async for line in printed:
                    lines.append((line.at, line.stream, line.text))
                    size += len(line.text)
                    while size > MOST_TEXT:
                        size -= len(lines.popleft()[2])
                        left_out = True
        except TimeoutError:
            if lines:
                lines.append((lines[-1][0], OWN_STREAM, _CUT_OFF))
        if left_out or len(lines) >= MOST_LINES:
            lines.appendleft((lines[0][0], OWN_STREAM, _LEFT_OUT))
        return lines

    def _write(self, workload_id: str, container_id: str, instance: str, lines: deque[Printed], masked: Masked) -> None:
        kept = [(at, stream, masked.text(text)) for at, stream, text in lines]
        self._files.write(workload_id, container_id, instance, kept)

    async def forget(self, workload_id: str) -> None:
        """Remove what is kept of a workload that is no more. Never fails: the next start tidies up."""
        try:
            await asyncio.to_thread(self._files.forget, workload_id)
        except HoldfastError as error:
            self._log.warning("kept logs are not removed yet", code=error.code, reason=error.message)
