"""The filesystems that volumes and Holdfast's own data are on: what is free, and when each will be full."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from holdfast.config import Settings
from holdfast.domain.disk import NOTE_SPACE, Forecast, FreeSpace, forecast
from holdfast.domain.errors import HoldfastError
from holdfast.engine.fs import Fs
from holdfast.engine.space import FilesystemSpace, space_of
from holdfast.services.health_gate import Clock
from holdfast.store.free_space import FreeSpaceStore

PAUSE: Final = 900.0
"""Seconds after which it is looked whether it is time for another note."""


class Filesystems:
    """Tells what is free, and notes it seldom, in the background.

    Args:
        patience: seconds in which they have to say what is free.
    """

    def __init__(
        self, *, settings: Settings, fs: Fs, store: FreeSpaceStore, clock: Clock, patience: float = 5.0
    ) -> None:
        self._places = (settings.data_dir, settings.volumes_base, *settings.allowed_roots, settings.docker_volumes)
        self._fs = fs
        self._store = store
        self._clock = clock
        self._patience = patience
        self._looking: asyncio.Task[tuple[FilesystemSpace, ...]] | None = None
        self._noting: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("filesystems")

    def start(self) -> None:
        """Begin to note what is free."""
        self._noting = asyncio.create_task(self._run(), name="notes of what is free")

    async def close(self) -> None:
        """Note no more."""
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)

    async def all(self) -> tuple[FilesystemSpace, ...]:
        """What is free now on each; none of them while one does not answer.

        Whoever asks while somebody looks already is told what that finds: a share whose server is gone holds one thread
        for as long as it likes, and not one for each that asks.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._look), name="filesystems")
        done, _ = await asyncio.wait([self._looking], timeout=self._patience)
        return self._looking.result() if done else ()

    async def forecasts(self, of: Sequence[FilesystemSpace]) -> Mapping[str, Forecast | None]:
        """How each of them fills, by its mount point; ``None`` while that can't be told yet.

        Raises:
            HoldfastError: the database can't be read.
        """
        known = await self._store.by_filesystem()
        now = self._clock.time()
        return {
            space.mount_point: forecast(known.get(space.mount_point, ()), free_bytes=space.free_bytes, now=now)
            for space in of
        }

    async def note(self) -> None:
        """Note what is free, where the last note is old enough.

        Raises:
            HoldfastError: the database can't be read or written.
        """
        known = await self._store.by_filesystem()
        now = int(self._clock.time())
        due = [
            FreeSpace(mount_point=space.mount_point, at=now, free_bytes=space.free_bytes)
            for space in await self.all()
            if not (notes := known.get(space.mount_point)) or abs(now - notes[-1].at) >= NOTE_SPACE
        ]
        await self._store.add(due)

    def _look(self) -> tuple[FilesystemSpace, ...]:
        found = {space.device: space for space in (space_of(self._fs, str(place)) for place in self._places)}
        return tuple(found.values())

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PAUSE)
            try:
                await self.note()
            except HoldfastError as error:
                self._log.warning("what is free can't be noted", code=error.code, reason=error.message)
            except Exception:  # noqa: BLE001 - a defect met once must not end all notes for good, and unseen
                self._log.exception("filesystems_failed_unforeseen")
