"""``holdfast repository add``, ``list``, ``show``, ``test``, ``snapshots``, ``prune``, ``remove``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.commands.snapshot import table
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import ago, both
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import follow
from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import format_duration, format_size

SECRET_VARIABLE: Final = "HOLDFAST_S3_SECRET"  # noqa: S105 - the name of a variable
_MAX_SECRET: Final = 1024
_MAX_CERTIFICATE: Final = 65536


def add(
    context: typer.Context,
    name: options.RepositoryName,
    directory: Annotated[str | None, typer.Option("--directory", help="A directory, by its absolute path.")] = None,
    s3: Annotated[
        str | None, typer.Option("--s3", metavar="BUCKET[/PREFIX]", help="A bucket that exists, and folders in it.")
    ] = None,
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="Address of the object storage; Amazon's own by default.")
    ] = "",
    region: Annotated[str, typer.Option("--region", help="The bucket's region.")] = "us-east-1",
    access_key_id: Annotated[str, typer.Option("--access-key-id", help="The access key's id.")] = "",
    secret_file: Annotated[
        str | None,
        typer.Option(
            "--secret-file",
            help=f"A file whose first line is the access key's secret; - for stdin. Without it {SECRET_VARIABLE} is "
            "taken from the environment, or asked for.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="Certificates to trust, in PEM.", exists=True, dir_okay=False),
    ] = None,
    *,
    plain: Annotated[
        bool, typer.Option("--plain", help="Do not encrypt a repository that is made in the directory.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Become the owner of the repository there: its Holdfast is gone.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Add a second repository, where copies of snapshots go. It is tried out at once."""
    session = session_of(context, as_json=as_json)
    if (directory is None) == (s3 is None):
        raise InvalidInput(
            "repository_place_missing",
            "A repository is either in a directory or in a bucket.",
            next_step="Say --directory PATH, or --s3 BUCKET/PREFIX.",
        )
    body: dict[str, Any] = {"name": name, "take_over": take_over}
    if directory is not None:
        body["directory"] = {"path": directory, "encrypt": not plain}
    if s3 is not None:
        if not access_key_id:
            raise InvalidInput(
                "access_key_missing",
                "The id of the access key is missing.",
                next_step="Say --access-key-id ID; the secret that belongs to it is asked for.",
            )
        bucket, _, prefix = s3.partition("/")
        body["s3"] = {
            "bucket": bucket,
            "prefix": prefix.strip("/"),
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": _secret(session, secret_file),
            "certificate": _certificate(certificate),
        }
    if take_over:
        what = (
            "The repository will belong to this installation and to no other; a Holdfast that still uses it is refused."
        )
        confirm_by_name(session, name, what, yes=yes)
    added = session.client.send("POST", "/api/repositories", document=body)
    session.output.document(added)
    session.output.say(f"Added {name}: {added['place']}{', encrypted' if added['encrypted'] else ''}.")
    if added["encrypted"]:
        session.output.note("Without its key nobody can read it: holdfast repository key export, kept elsewhere.")


def list_repositories(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the second repositories."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/repositories")
    session.output.document(document)
    session.output.table(
        ("name", "kind", "place", "encrypted", "added"),
        [(r["name"], r["kind"], r["place"], r["encrypted"], ago(r["created_at"])) for r in document["items"]],
    )


def show(context: typer.Context, name: options.RepositoryName, *, as_json: options.Json = False) -> None:
    """Show a second repository. Its secret is never shown."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/repositories/{name}")
    session.output.document(document)
    session.output.facts(
        [
            ("name", document["name"]),
            ("kind", document["kind"]),
            ("place", document["place"]),
            ("region", document["region"]),
            ("access key", document["access_key_id"]),
            ("encrypted", document["encrypted"]),
            ("repository", document["repository_id"]),
            ("added", both(document["created_at"])),
        ]
    )


def try_out(context: typer.Context, name: options.RepositoryName, *, as_json: options.Json = False) -> None:
    """Open a second repository, and tell what is there."""
    session = session_of(context, as_json=as_json)
    document = session.client.send("POST", f"/api/repositories/{name}/test")
    session.output.document(document)
    session.output.facts(
        [
            ("snapshots", document["snapshots"]),
            ("stored", f"{format_size(document['bytes'])} in {document['packs']} packs"),
            ("answered in", format_duration(document["seconds"])),
        ]
    )


def remove(
    context: typer.Context, name: options.RepositoryName, *, yes: options.Yes = False, as_json: options.Json = False
) -> None:
    """Forget a second repository. What is stored there stays, and can be added again."""
    session = session_of(context, as_json=as_json)
    what = f"{name} is forgotten, and so is the access key where it has one. What is stored there stays as it is."
    confirm_by_name(session, name, what, yes=yes)
    session.client.send("DELETE", f"/api/repositories/{name}")
    session.output.document({"removed": name})
    session.output.say(f"Forgot {name}.")


def snapshots(
    context: typer.Context,
    name: options.RepositoryName,
    limit: options.Limit = 50,
    *,
    as_json: options.Json = False,
) -> None:
    """List the snapshots of all workloads that are in a second repository, newest first."""
    session = session_of(context, as_json=as_json)
    page = session.client.get(f"/api/repositories/{name}/snapshots", limit=limit)
    session.output.document(page)
    table(session.output, page["items"], with_workload=True)
    if not page["items"]:
        session.output.note(f"{name} holds no snapshots.")
    if page["next_cursor"] is not None:
        session.output.note(f"There are more than {limit}; see --limit.")


def prune(
    context: typer.Context,
    name: options.RepositoryName,
    *,
    dry_run: options.DryRun = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Free what no snapshot in a second repository needs. No snapshot is deleted."""
    session = session_of(context, as_json=as_json)
    operation = session.client.send("POST", f"/api/repositories/{name}/prune", document={"dry_run": dry_run})
    ended = follow(session, operation, detach=detach, done="Nothing was changed." if dry_run else "Pruned.")
    outcome = ended["outcome"]
    session.output.facts(
        [
            ("packs deleted", outcome["deleted_packs"]),
            ("packs written anew", outcome["rewritten_packs"]),
            ("freed", format_size(max(0, outcome["freed_bytes"]))),
            ("left to the next", outcome["postponed_packs"] or None),
        ]
    )


def _secret(session: Session, file: str | None) -> str:
    """The secret, from anywhere but the command line, which others on the machine can read."""
    if file == "-":
        return _first_line(sys.stdin.buffer.readline(_MAX_SECRET))
    if file is not None:
        try:
            with Path(file).open("rb") as opened:
                return _first_line(opened.readline(_MAX_SECRET))
        except OSError as error:
            raise InvalidInput(
                "file_unreadable", f"{file} can't be read: {error.strerror}.", next_step="Check the path."
            ) from error
    if given := session.env.get(SECRET_VARIABLE):
        return given
    if not session.output.is_terminal:
        raise InvalidInput(
            "secret_missing",
            "The secret of the access key is missing, and nobody can be asked here.",
            next_step=f"Name a file with --secret-file, or set {SECRET_VARIABLE}.",
        )
    return str(typer.prompt("Secret access key", hide_input=True, err=True))


def _first_line(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _certificate(file: Path | None) -> str:
    if file is None:
        return ""
    with file.open("rb") as opened:
        return opened.read(_MAX_CERTIFICATE + 1).decode("utf-8", "replace")
