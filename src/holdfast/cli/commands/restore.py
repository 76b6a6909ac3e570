"""``holdfast restore``: return a workload's data to a snapshot.

Always in the same order: the dry run and what it found, the question, the restore, its outcome.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import completions, exit_codes, options
from holdfast.cli.chosen_paths import chosen_paths
from holdfast.cli.commands.snapshot import table
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.plan import graces_in_words, show_plan
from holdfast.cli.safety import tell_of_safety
from holdfast.cli.session import Session, session_of
from holdfast.cli.watch import Watcher, conclude, follow
from holdfast.domain.errors import InvalidInput, NotFound
from holdfast.domain.restore import OnUnhealthy


def restore(
    context: typer.Context,
    workload: options.WorkloadName,
    snapshot: Annotated[
        str | None,
        typer.Argument(
            help="The snapshot's id; without it a list is offered.",
            callback=options.identifier,
            autocompletion=completions.snapshots,
        ),
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option("--volume", help="Only this volume (its path in the container); repeatable.")
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="PATH",
            help="Only this file or directory, as the container sees it (/data/uploads), exactly as it was: what was "
            "added in it since goes, what was removed comes back; all else stays as it is. Repeatable.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Take the snapshot from this second repository.",
            callback=options.repository_name,
        ),
    ] = None,
    on_unhealthy: Annotated[
        OnUnhealthy | None,
        typer.Option("--on-unhealthy", help="What to do when the workload is unhealthy on the restored data."),
    ] = None,
    *,
    with_image: Annotated[bool, typer.Option("--with-image", help="Go back to the image of then, too.")] = False,
    create_missing: options.CreateMissing = False,
    accept_replaced: options.AcceptReplaced = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    detach: options.Detach = False,
    as_json: options.Json = False,
) -> None:
    """Return a workload's data to a snapshot. The data of now is kept as a safety snapshot; 'undo' takes it back."""
    session = session_of(context, as_json=as_json)
    name = session.client.get(f"/api/workloads/{workload}")["name"]
    chosen = snapshot or _chosen(session, workload, source)
    wanted = {
        "volumes": volume or None,
        **chosen_paths(session, workload, chosen, path or []),
        "on_unhealthy": on_unhealthy,
        "with_image": with_image,
        "create_missing": create_missing,
        "accept_replaced": accept_replaced,
    } | ({} if source is None else {"repository": source})
    address = f"/api/workloads/{workload}/snapshots/{chosen}/restore"
    rehearse(session, address, wanted, name, dry_run=dry_run, yes=yes)
    operation = session.client.send("POST", address, document=wanted, headers={"X-Confirm-Restore": chosen})
    follow(session, operation, detach=detach, done="Restored.")
    tell_of_safety(session, name)


def rehearse(
    session: Session,
    path: str,
    wanted: dict[str, Any],
    name: str,
    *,
    dry_run: bool,
    yes: bool,
    what: str | None = None,
) -> None:
    """Show the dry run, then have it confirmed.

    Args:
        dry_run: end after the dry run.
        what: is about to happen; ``None``: live data is replaced.

    Raises:
        typer.Exit: it was only a dry run, or it found that the restore can't be done.
        ConfirmationMissing: it was not confirmed.
    """
    output = session.output
    operation = session.client.send("POST", path, document=wanted | {"dry_run": True})
    operation = Watcher(session.client, output).watch(operation)
    if exit_codes.of_operation(operation) is not ExitCode.OK:
        conclude(output, operation, "")
    show_plan(output, operation["outcome"], to_stderr=not dry_run)
    if dry_run:
        output.document(operation)
        output.say("Nothing was changed.")
        raise typer.Exit(ExitCode.OK)
    if what is None:
        paths = operation["outcome"].get("paths")
        replaced = f"{', '.join(paths)} in the live data" if paths else "the live data"
        what = f"This replaces {replaced} of {name}, after a safety snapshot of all of it."
    confirm_by_name(session, name, f"{what} {graces_in_words(operation['outcome'])}".rstrip(), yes=yes)


def _chosen(session: Session, workload: str, source: str | None) -> str:
    """The snapshot of a workload that the person picks, in the primary repository or in a second one."""
    if source is None:
        return choose(session, workload, f"/api/workloads/{workload}/snapshots")
    return choose(session, workload, f"/api/repositories/{source}/snapshots", source=source, workload=workload)


def choose(
    session: Session, whose: str, path: str, *, source: str | None = None, deleted: bool = False, **query: str
) -> str:
    """The snapshot that the person at the terminal picks from a list.

    Args:
        path: where the list is.
        source: the second repository that it is the list of.
        deleted: ``whose`` may be a workload that was deleted.
    """
    where = f" --from {source}" if source else " --deleted" if deleted else ""
    if not session.output.is_terminal or session.output.as_json:
        raise InvalidInput(
            "snapshot_missing",
            "Which snapshot is missing, and nobody can be asked here.",
            next_step=f"Name one of: holdfast snapshot list {whose}{where}",
        )
    page = session.client.get(path, limit=20, **query)
    found = page["items"]
    if not found:
        raise no_snapshots(whose, source)
    table(session.output, [item | {"id": f"{number:>2}) {item['id']}"} for number, item in enumerate(found, 1)])
    number = typer.prompt(f"Which one (1-{len(found)})", type=int, err=True)
    if not 1 <= number <= len(found):
        raise InvalidInput("snapshot_missing", "That is none of them.", next_step="Start again and give its number.")
    return str(found[number - 1]["id"])


def no_snapshots(whose: str, source: str | None = None) -> NotFound:
    """That there is nothing to choose from."""
    if source is not None:
        return NotFound(
            "no_snapshots",
            f"{source} holds no snapshots of {whose}.",
            next_step=f"See what is there: holdfast repository snapshots {source}",
        )
    return NotFound(
        "no_snapshots",
        f"There are no snapshots of {whose}.",
        next_step=f"Check the name with 'holdfast snapshot list', or take one: holdfast snapshot create {whose}",
    )
