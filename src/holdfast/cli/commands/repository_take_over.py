"""``holdfast repository take-over``: a repository that another Holdfast made, or whose description was lost."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.session import session_of


def take_over(
    context: typer.Context,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Make this installation the owner of the repository in its data directory, while no server runs."""
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)
    confirm_by_name(
        session,
        "take over",
        f"The repository in {settings.repository_dir} will belong to this installation and to no other. A Holdfast "
        "that still uses it will be refused.",
        yes=yes,
    )

    from holdfast.bootstrap.repository_owner import take_over_repository  # the engine: loaded by who needs it

    taken = take_over_repository(settings)
    session.output.document(taken._asdict())
    session.output.say(f"The repository {taken.repository_id} belongs to this installation now.")
    if taken.rebuilt:
        session.output.say("Its description was written anew. The index is made anew when it is opened.")
