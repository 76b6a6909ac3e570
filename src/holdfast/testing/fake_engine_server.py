"""``holdfast serve`` in front of an engine without containers, to try the commands of guides on.

``python -m holdfast.testing.fake_engine_server``: settings come from the environment alone. Files, volumes, snapshots
and all that is asked over HTTP are real; passwords and passphrases cost nothing.
"""

from __future__ import annotations

import os
import shlex
from typing import Final

from holdfast.bootstrap import Seams, serve
from holdfast.config import Settings
from holdfast.config_reading import load_settings
from holdfast.runtime.port import ExecResult
from holdfast.services.passwords import PasswordCost
from holdfast.testing.fake_records import Behaviour
from holdfast.testing.fake_runtime import FakeRuntime
from holdfast.testing.quick_database import QuickDatabase
from holdfast.testing.quick_workers import QuickWorkers

IMAGES: Final = ("notes:1.4", "notes:1.5", "notes:pr-17", "db:16", "forge:13")
"""Each as ``registry.example/…``."""
COMMANDS: Final = ('sqlite3 /data/notes.db "pragma integrity_check"',)
"""What can be run in their containers."""


def engine(settings: Settings) -> FakeRuntime:
    """An engine whose registry has these images."""
    runtime = FakeRuntime(root_dir=str(settings.data_dir.parent / "engine"))
    for name in IMAGES:
        runtime.add_remote_image(f"registry.example/{name}", Behaviour(logs=("ready",)))
    for command in COMMANDS:
        runtime.on_exec(shlex.split(command), ExecResult(code=0, output="ok"))
    return runtime


if __name__ == "__main__":
    cheap = PasswordCost(memory_kib=8, passes=1, lanes=1)
    serve(
        load_settings(None, os.environ),
        Seams(runtime=engine, database=QuickDatabase.at, workers=QuickWorkers, password_cost=cheap, backup_cost=2),
    )
