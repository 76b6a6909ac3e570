"""The composition root: the only part that may import everything."""

from __future__ import annotations

from holdfast.bootstrap.assembly import Holdfast, Seams, running
from holdfast.bootstrap.offline import export_offline, recover_offline
from holdfast.bootstrap.repository_key import export_repository_key, import_repository_key
from holdfast.bootstrap.server import serve

__all__ = [
    "Holdfast",
    "Seams",
    "export_offline",
    "export_repository_key",
    "import_repository_key",
    "recover_offline",
    "running",
    "serve",
]
