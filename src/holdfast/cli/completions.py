"""What the shell offers at Tab: names of workloads and ids of snapshots, as the server knows them.

A server that is away, slow, or does not let us in offers nothing, and nothing is said: somebody is typing.
"""

from __future__ import annotations

from typing import Any, Final

import typer

from holdfast.cli.output import ago
from holdfast.cli.session import Session
from holdfast.domain.errors import HoldfastError

_PATIENCE: Final = 1.0
"""Seconds for which Tab may stand still."""
_MANY: Final = 200


def workloads(context: typer.Context, _words: list[str], _begun: str) -> list[tuple[str, str]]:
    """The names of all workloads, each with its image."""
    return [(str(each["name"]), str(each.get("image") or "")) for each in _items(context, "/api/workloads")]


def snapshots(context: typer.Context, _words: list[str], _begun: str) -> list[tuple[str, str]]:
    """The ids of the snapshots of the workload that the line names before, newest first, each with its age and note."""
    workload, source = context.params.get("workload"), context.params.get("source")
    if not isinstance(workload, str):
        return []
    if isinstance(source, str):
        items = _items(context, f"/api/repositories/{source}/snapshots", workload=workload)
    else:
        items = _items(context, f"/api/workloads/{workload}/snapshots")
    return [(str(each["id"]), " ".join(filter(None, (ago(each["created_at"]), each.get("note"))))) for each in items]


def _items(context: typer.Context, path: str, **params: str) -> list[dict[str, Any]]:
    root = context.find_root()
    session = root.obj()  # no command has begun: what is there is what makes a session
    assert isinstance(session, Session)
    session.url, session.token_file = root.params.get("url"), root.params.get("token_file")
    session.patience = _PATIENCE
    try:
        items: list[dict[str, Any]] = session.client.get(path, limit=_MANY, **params)["items"]
    except HoldfastError:
        return []
    finally:
        session.close()
    return items
