"""Where this user is signed in: a file of their own, with a session for each server.

What is in it proves who they are; nobody else may read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast.cli.new_file import new_file
from holdfast.domain.errors import Failed

_MAX_BYTES: Final = 1 << 20


def stored_session(url: str, env: Mapping[str, str]) -> str | None:
    """The cookie of the session at a server; ``None`` if there is none."""
    return _read(_file(env)).get(url)


def store_session(url: str, cookie: str | None, env: Mapping[str, str]) -> None:
    """Keep the cookie of a session at a server, in place of the one that there was; ``None`` forgets that.

    Raises:
        Failed: ``file_not_written``.
    """
    file = _file(env)
    kept = _read(file)
    if cookie is None and url not in kept:
        return
    if file is None:
        raise Failed(
            "file_not_written",
            "There is no place for the session: neither HOME nor XDG_CONFIG_HOME is set.",
            next_step="Set one of them, or use a token (HOLDFAST_TOKEN_FILE).",
        )
    kept.pop(url, None)
    if cookie is not None:
        kept[url] = cookie
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            "file_not_written", f"{file.parent} can't be made: {error.strerror}.", next_step="Check the path and space."
        ) from error
    with new_file(str(file), private=True, replace=True) as written:
        written.write(json.dumps(kept, indent=2).encode())


def _file(env: Mapping[str, str]) -> Path | None:
    if configuration := env.get("XDG_CONFIG_HOME"):
        return Path(configuration) / "holdfast" / "sessions.json"
    if home := env.get("HOME"):
        return Path(home) / ".config" / "holdfast" / "sessions.json"
    return None


def _read(file: Path | None) -> dict[str, str]:
    """What is in the file; what can't be read is no session."""
    if file is None:
        return {}
    try:
        with open(os.fspath(file), "rb") as opened:
            kept = json.loads(opened.read(_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return {url: cookie for url, cookie in kept.items() if isinstance(cookie, str)} if isinstance(kept, dict) else {}
