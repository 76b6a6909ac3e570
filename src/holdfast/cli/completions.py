"""What the shell offers at Tab: names of workloads and ids of snapshots, as the server knows them.

- A server that is away, slow, or does not let us in offers nothing, and nothing is said: somebody is typing.
- Shells evaluate what is offered. So only what looks like a name or an id is, and of what people wrote beside it only
  what no shell reads as anything: whoever may write a note may run nothing at somebody else's Tab.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import typer

from holdfast.cli.output import ago
from holdfast.cli.session import Session
from holdfast.domain.errors import HoldfastError

_PATIENCE: Final = 1.0
"""Seconds for which Tab may stand still."""
_MANY: Final = 200
_OFFERED: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NOT_TOLD: Final = re.compile(r"[^\w .,:;/@+=()-]+")


def workloads(context: typer.Context, _words: list[str], _begun: str) -> list[tuple[str, str]]:
    """The names of all workloads, each with its image."""
    return _offered((each["name"], each.get("image")) for each in _items(context, "/api/workloads"))


def snapshots(context: typer.Context, _words: list[str], _begun: str) -> list[tuple[str, str]]:
    """The ids of the snapshots of the workload that the line names before, newest first, each with its age and note."""
    workload, source = context.params.get("workload"), context.params.get("source")
    if not isinstance(workload, str):
        return []
    if isinstance(source, str):
        items = _items(context, f"/api/repositories/{source}/snapshots", workload=workload)
    else:
        items = _items(context, f"/api/workloads/{workload}/snapshots")
    return _offered((each["id"], f"{ago(each['created_at'])} {each.get('note') or ''}".strip()) for each in items)


def _offered(found: Iterable[tuple[object, object]]) -> list[tuple[str, str]]:
    return [(str(word), _NOT_TOLD.sub(" ", str(about or ""))) for word, about in found if _OFFERED.fullmatch(str(word))]


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
