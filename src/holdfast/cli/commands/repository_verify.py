"""``holdfast repository verify``: read the repository back, or a share of it."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.output import both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.units import format_size


def _percent(text: str) -> int:
    number = text.removesuffix("%")
    if not number.isascii() or not number.isdecimal() or len(number) > 3 or not 1 <= int(number) <= 100:
        raise typer.BadParameter("write a whole number of percent, from 1% to 100%", param_hint="--share")
    return int(number)


def verify(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A second repository; without it, the primary one.", callback=options.repository_name
        ),
    ] = None,
    share: Annotated[str, typer.Option("--share", metavar="PERCENT", help="How much of it, for example 10%.")] = "100%",
    *,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Read the repository back, or a share of it; what was not read for longest comes first."""
    session = session_of(context, as_json=as_json)
    path = "/api/repository/verify" if name is None else f"/api/repositories/{name}/verify"
    operation = session.client.send("POST", path, document={"share": _percent(share)})
    ended = follow(session, operation, detach=detach, done="What was read is whole.")
    outcome = ended["outcome"]
    session.output.facts(
        [
            ("read", f"{format_size(outcome['bytes'])} of {format_size(outcome['bytes_in_all'])}"),
            ("all read since", both(outcome["since"]) if outcome["since"] else "never yet"),
        ]
    )
