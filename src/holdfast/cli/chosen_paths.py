"""Chosen paths on their way from the command line to the server."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from holdfast.cli.session import Session
from holdfast.domain.chosen_paths import by_volume, container_path
from holdfast.domain.errors import Refused


def chosen_paths(session: Session, workload: str, snapshot: str, paths: Sequence[str]) -> dict[str, object]:
    """What a request says of the paths. Those that are no text are encoded, by the volumes of the snapshot.

    Raises:
        InvalidInput: ``path_malformed``.
        Refused: ``path_outside_volumes``.
    """
    raw = [container_path(os.fsencode(path)) for path in paths]
    plain = [path.decode() for path in raw if _is_text(path)]
    others = [path for path in raw if not _is_text(path)]
    encoded = []
    if others:
        manifest = session.client.get(f"/api/workloads/{workload}/snapshots/{snapshot}")
        found, problems = by_volume(others, [volume["target"] for volume in manifest["volumes"]])
        if problems:
            raise Refused(problems)
        encoded = [
            {"volume": target, "path": _encoded(path)} for target, chosen in found.items() for path in chosen.paths
        ]
    return {key: value for key, value in (("paths", plain), ("encoded_paths", encoded)) if value}


def path_in_volume(
    session: Session, workload: str, snapshot: str, path: str, volume: str | None
) -> dict[str, str | bool | None]:
    """What a request says of one path in a snapshot: as the container sees it, from / on, or below the volume's root.

    Raises:
        InvalidInput: ``path_malformed``.
        Refused: ``path_outside_volumes``.
    """
    raw = os.fsencode(path)
    if volume is None and raw.startswith(b"/"):
        manifest = session.client.get(f"/api/workloads/{workload}/snapshots/{snapshot}")
        targets = [captured["target"] for captured in manifest["volumes"]]
        found, problems = by_volume([container_path(raw)], targets)
        if problems:
            raise Refused(problems)
        ((volume, chosen),) = found.items()
        (raw,) = chosen.paths
    if _is_text(raw):
        return {"volume": volume, "path": raw.decode()}
    return {"volume": volume, "path": _encoded(raw), "encoded": True}


def _encoded(path: bytes) -> str:
    return base64.urlsafe_b64encode(path).decode().rstrip("=")


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
