"""Words about safety snapshots: how many a workload keeps, what they take, and how to let them go."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from holdfast.cli.output import ago
from holdfast.cli.session import Session
from holdfast.domain.errors import HoldfastError
from holdfast.domain.units import format_size


def safety_in_words(name: str, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """One line about what is kept and one about letting it go; none if nothing is.

    Args:
        name: the workload's.
        kept: the ``safety_snapshots`` of its status.
    """
    if not kept["count"]:
        return ()
    size, oldest = format_size(kept["stored_bytes"]), kept["oldest_id"]
    if kept["count"] == 1:
        told = f"1 safety snapshot of {name} is kept until you let it go; it added {size} to the store."
    else:
        since = ago(kept["oldest_at"])
        told = (
            f"{kept['count']} safety snapshots of {name} are kept until you let them go, the oldest taken {since}; "
            f"they added {size} to the store."
        )
    release = f"holdfast snapshot unpin {name} {oldest}, then holdfast snapshot delete {name} {oldest}"
    return (told, f"If nobody will want to go back to {'it' if kept['count'] == 1 else 'the oldest'}: {release}")


def tell_of_safety(session: Session, name: str) -> None:
    """Say what a workload keeps, beside a command's own result, which stands whether or not this can be found out."""
    if session.output.as_json:
        return
    with suppress(HoldfastError):
        kept = session.client.get(f"/api/workloads/{name}/status")["safety_snapshots"]
        for line in safety_in_words(name, kept):
            session.output.note(line)
