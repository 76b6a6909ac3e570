"""``holdfast recover``: finish interrupted restores on a data directory whose server is not running."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.session import session_of


def recover(
    context: typer.Context, config: Config = None, data_dir: DataDir = None, *, as_json: options.Json = False
) -> None:
    """Decide and finish interrupted restores without a server. Works on the data directory, under its lock."""
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)

    from holdfast import bootstrap  # the whole engine: loaded only by the commands that need it

    report = list(bootstrap.recover_offline(settings))
    session.output.document({"restores": report})
    for line in report:
        session.output.say(line)
    if report:
        session.output.note("next: start the server; it goes on from here.")
    else:
        session.output.say("No restore is unfinished.")
