"""Asking before something is destroyed: by the workload's name, typed, never by a mere key."""

from __future__ import annotations

import typer

from holdfast.cli.session import Session
from holdfast.domain.errors import ConfirmationMissing


def confirm_by_name(session: Session, name: str, what: str, *, yes: bool) -> None:
    """Say what is about to happen, and have the workload's name typed.

    Args:
        yes: asked before, by whoever wrote ``--yes``.

    Raises:
        ConfirmationMissing: nobody could be asked, or something else was typed.
    """
    if yes:
        return
    session.output.note(what)
    if not session.output.is_terminal:
        raise ConfirmationMissing(
            "confirmation_missing",
            "This needs a confirmation, and nobody can be asked here.",
            next_step="Run it on a terminal, or with --yes if it is meant.",
        )
    typed = typer.prompt(f"Type {name} to go on", default="", show_default=False, err=True)
    if typed.strip() != name:
        raise ConfirmationMissing(
            "confirmation_mismatch",
            "That is not the name. Nothing was changed.",
            next_step="Start again if it is meant.",
        )
