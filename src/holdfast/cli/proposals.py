"""Proposed workload files: shown, or written into a directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.cli import options
from holdfast.cli.new_file import new_file
from holdfast.cli.output import Output
from holdfast.domain.errors import Conflict, Failed


def show_proposals(output: Output, proposal: Mapping[str, Any], directory: str | None, *, force: bool) -> None:
    """Show what an import proposes, or write a file for each workload.

    Args:
        directory: where the files go; ``None``: they are shown.
        force: replace files that are there.

    Raises:
        Conflict: ``file_exists``.
        Failed: ``file_not_written``.
    """
    output.document(dict(proposal))
    if directory is None:
        for index, workload in enumerate(proposal["workloads"]):
            if index:
                output.say("---")
            output.say(workload["yaml"].rstrip())
    else:
        _write(output, Path(directory), proposal["workloads"], force=force)
    for finding in proposal["findings"]:
        place = f"{finding['path']}: " if finding["path"] else ""
        output.note(f"{place}{finding['message']} {finding['next_step']}")


def _write(output: Output, directory: Path, workloads: list[dict[str, Any]], *, force: bool) -> None:
    """A file for each workload: all that can be told beforehand is, so that not half of them are written.

    Raises:
        Conflict: ``file_exists``.
        Failed: ``file_not_written``.
    """
    files = {directory / f"{options.name(workload['name'])}.yaml": workload for workload in workloads}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise Conflict(
            "file_exists",
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already. Nothing was written.",
            next_step="Name another directory with --output, or replace them with --force.",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            "file_not_written", f"{directory} can't be made: {error.strerror}.", next_step="Check the path and space."
        ) from error
    for path, workload in files.items():
        with new_file(str(path), replace=force) as target:
            target.write(workload["yaml"].encode())
        count = len(workload["findings"])
        told = f", with {count} {'thing' if count == 1 else 'things'} to look at" if count else ""
        mend = "" if workload["valid"] else "; it can't be applied before they are mended"
        output.say(f"Wrote {path}{told}{mend}.")
