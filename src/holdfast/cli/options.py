"""Options and arguments that several commands share, in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout; messages go to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")]
CreateMissing = Annotated[
    bool, typer.Option("--create-missing", help="Make the directory of a volume that is missing.")
]
AcceptReplaced = Annotated[
    bool,
    typer.Option(
        "--accept-replaced", help="Restore onto a directory that is another one than the one last seen there, too."
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Start the operation and do not watch it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")]
WorkloadName = Annotated[str, typer.Argument(metavar="WORKLOAD", help="The workload's name or id.")]
SnapshotArgument = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The snapshot's id.")]
