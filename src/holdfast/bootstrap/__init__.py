"""The composition root: the only part that may import everything."""

from __future__ import annotations

from holdfast.bootstrap.assembly import Holdfast, running
from holdfast.bootstrap.offline import export_offline, recover_offline
from holdfast.bootstrap.seams import Seams
from holdfast.bootstrap.server import serve

__all__ = [
    "Holdfast",
    "Seams",
    "export_offline",
    "recover_offline",
    "running",
    "serve",
]
