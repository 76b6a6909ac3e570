"""``holdfast systemd-unit``: the service that runs this installation."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import typer

from holdfast.cli.commands.serve import Config, settings_from
from holdfast.cli.session import session_of

_PROGRAM: Final = "/opt/holdfast/bin/holdfast"
_MOUNTS: Final = "RequiresMountsFor=/var/lib/holdfast"


def systemd_unit(context: typer.Context, config: Config = None) -> None:
    """Print a systemd unit that runs this installation; see the how-to guide "Run it as a service".

    It starts this very program, and only once the directories that the settings name are mounted.
    """
    session = session_of(context)
    settings = settings_from(session, config, None)
    command = [str(Path(sys.executable).with_name("holdfast")), "serve"]
    if config is not None:
        command += ["--config", str(Path(config).absolute())]
    places = dict.fromkeys(map(str, (settings.data_dir, settings.volumes_base, *settings.allowed_roots)))
    unit = files("holdfast.cli").joinpath("holdfast.service").read_text(encoding="utf-8")
    unit = unit.replace(
        f"ExecStart={_PROGRAM} serve", f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in command)}"
    )
    unit = unit.replace(_MOUNTS, f"RequiresMountsFor={' '.join(map(_quoted, places))}")
    typer.echo(unit, nl=False)


def _quoted(word: str) -> str:
    """A word as systemd reads it, whatever is in it."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"' if any(character in " '\"\\;" for character in word) else word
