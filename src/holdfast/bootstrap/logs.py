"""Builds what keeps and reads the logs of workloads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog

from holdfast.config import Settings
from holdfast.domain.errors import HoldfastError
from holdfast.engine.fs import Fs
from holdfast.engine.kept_logs import KeptLogFiles


def kept_logs_of(settings: Settings, fs: Fs) -> KeptLogFiles:
    """Where logs are kept."""
    return KeptLogFiles(fs, settings.logs_dir, settings.kept_log_bytes)


async def tidy_kept_logs(kept: KeptLogFiles, workload_ids: Collection[str]) -> None:
    """Remove what a killed server left, and what is too much by now. If that fails, all the same is served."""
    try:
        await asyncio.to_thread(kept.clean, workload_ids)
    except HoldfastError as error:
        structlog.get_logger("bootstrap").warning("the kept logs are not tidied", code=error.code, reason=error.message)
