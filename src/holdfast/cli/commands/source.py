"""``holdfast source``: what can say which image a workload runs."""

from __future__ import annotations

import typer

from holdfast.cli import options
from holdfast.cli.session import session_of


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="Look at sources, which say what image a workload runs.")
    group.callback()(_group)  # so that its one command keeps its name
    group.command("list")(list_sources)
    return group


def list_sources(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the sources that are installed, with what provides each, and why one can't be used."""
    session = session_of(context, as_json=as_json)
    page = session.client.get("/api/sources")
    session.output.document(page)
    session.output.table(
        ("name", "provided by", "state"),
        [(s["name"], s["provided_by"], s["problem"]["code"] if s["problem"] else "can be used") for s in page["items"]],
    )
    problems = [source["problem"] for source in page["items"] if source["problem"]]
    for told in sorted({f"{problem['message']} {problem['next_step']}" for problem in problems}):
        session.output.say(told)


def _group() -> None:
    """Look at sources."""
