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
            {"volume": target, "path": base64.urlsafe_b64encode(path).decode().rstrip("=")}
            for target, chosen in found.items()
            for path in chosen.paths
        ]
    return {key: value for key, value in (("paths", plain), ("encoded_paths", encoded)) if value}


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
