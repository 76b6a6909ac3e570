"""``holdfast serve``: run the server."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from holdfast.config import Settings

DataDir = Annotated[str | None, typer.Option("--data-dir", help="Where Holdfast keeps its own (HOLDFAST_DATA_DIR).")]
Config = Annotated[str | None, typer.Option("--config", help="A TOML file with settings (HOLDFAST_CONFIG).")]


def serve(
    context: typer.Context,
    config: Config = None,
    data_dir: DataDir = None,
    listen: Annotated[str | None, typer.Option("--listen", help="Address and port, e.g. 127.0.0.1:8484.")] = None,
    *,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A trusted proxy that ends TLS stands before this server.")
    ] = False,
) -> None:
    """Run the server until it is told to stop."""
    session = session_of(context)
    given: dict[str, str] = {}
    if listen is not None:
        given["HOLDFAST_LISTEN"] = listen
    if behind_proxy:
        given["HOLDFAST_TRUSTED_PROXY"] = "true"
    settings = settings_from(session, config, data_dir, given)

    _load_without_colours()
    gc.disable()  # of what is loaded nothing is garbage, now or ever: looking for some would take a tenth of the start
    from holdfast import bootstrap  # the whole server: loaded only by the commands that are one

    gc.freeze()
    gc.enable()
    bootstrap.serve(settings)


def _load_without_colours() -> None:
    """Load structlog without what it would draw tracebacks in colour with: a server never does, and it takes 3 MiB."""
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment] # as if it were not installed
        import_module("structlog")
        del sys.modules["rich"]


def settings_from(
    session: Session, config: str | None, data_dir: str | None, given: dict[str, str] | None = None
) -> Settings:
    """The settings that the file, the environment and the command line make together; the last one wins."""
    from holdfast.config_reading import load_settings

    overrides = dict(given or {})
    if data_dir is not None:
        overrides["HOLDFAST_DATA_DIR"] = str(Path(data_dir).absolute())
    file = config or session.env.get("HOLDFAST_CONFIG")
    environment = {name: value for name, value in session.env.items() if name not in _replaced(overrides)}
    return load_settings(Path(file) if file else None, environment | overrides)


def _replaced(overrides: dict[str, str]) -> set[str]:
    """The variables that the command line overrules: both ways of giving a setting."""
    return {*overrides, *(f"{name}_FILE" for name in overrides)}
