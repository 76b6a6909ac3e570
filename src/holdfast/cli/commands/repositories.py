"""``holdfast repository add``, ``list``, ``show``, ``test``, ``snapshots``, ``prune``, ``remove``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import options, places
from holdfast.cli.commands.snapshot import table
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import ago, both
from holdfast.cli.session import session_of
from holdfast.cli.watch import follow
from holdfast.domain.repository import RepositoryKind
from holdfast.domain.units import format_duration, format_size


def add(
    context: typer.Context,
    name: options.RepositoryName,
    directory: places.Directory = None,
    s3: places.S3 = None,
    endpoint: places.Endpoint = "",
    region: places.Region = places.REGION,
    access_key_id: places.AccessKeyId = "",
    secret_file: places.SecretFile = None,
    certificate: places.Certificate = None,
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
    place = places.place_of(directory, s3, endpoint, region, access_key_id, certificate)
    body: dict[str, Any] = {"name": name, "take_over": take_over}
    if place.kind is RepositoryKind.DIRECTORY:
        body["directory"] = {"path": place.path, "encrypt": not plain}
    else:
        body["s3"] = {
            "bucket": place.bucket,
            "prefix": place.prefix,
            "endpoint": place.endpoint,
            "region": place.region,
            "access_key_id": place.access_key_id,
            "secret_access_key": places.secret_of(session, secret_file),
            "certificate": place.certificate,
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
