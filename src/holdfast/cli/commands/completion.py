"""``holdfast completion``: what makes a shell complete commands, options, workloads and snapshots."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined] # re-exported by use, not by name

_PROGRAM: Final = "holdfast"


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print what makes a shell complete holdfast's commands, options, workloads and snapshots at Tab.

    For all users, as root: "holdfast completion bash > /etc/bash_completion.d/holdfast"; zsh:
    "/usr/local/share/zsh/site-functions/_holdfast"; fish: "/etc/fish/completions/holdfast.fish".
    """
    typer.echo(get_completion_script(prog_name=_PROGRAM, complete_var="_HOLDFAST_COMPLETE", shell=shell.value))
