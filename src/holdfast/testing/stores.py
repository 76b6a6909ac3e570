"""Settings of snapshot stores for tests."""

from __future__ import annotations

from pathlib import Path

from holdfast.engine.limits import Limits
from holdfast.engine.stores import StoreSettings

INSTALLATION = "01hzzzzzzzzzzzzzzzzzzzzzzz"


def store_settings(data_dir: Path, *, encrypt: bool = False) -> StoreSettings:
    """Stores below ``data_dir``, laid out as an installation's are."""
    return StoreSettings(
        installation=INSTALLATION,
        archives_dir=str(data_dir / "snapshots"),
        archive_key_file=str(data_dir / "keys" / "archive.key"),
        repository_dir=str(data_dir / "repository"),
        repository_key_file=str(data_dir / "keys" / "repository.key"),
        encrypt=encrypt,
        limits=Limits(),
        reserve_bytes=0,
    )
