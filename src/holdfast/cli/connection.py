"""Which server, and as whom.

A token from the options or the environment goes first, then the session that `holdfast login` began, then the first
token in the data directory of this host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.cli.stored_sessions import stored_session
from holdfast.domain.errors import InvalidInput

DEFAULT_URL: Final = "http://127.0.0.1:8484"
DEFAULT_DATA_DIR: Final = "/var/lib/holdfast"
_MAX_TOKEN_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where to ask, and as whom. Without either the server will ask for one.

    Attributes:
        session: the cookie of a session.
    """

    url: str
    token: str | None = None
    session: str | None = None


def resolve(url: str | None, token_file: str | None, env: Mapping[str, str]) -> Connection:
    """Work out the connection.

    Args:
        url: as given on the command line; ``HOLDFAST_URL``, or the default, if ``None``.
        token_file: as given on the command line. Else ``HOLDFAST_TOKEN``, the file that ``HOLDFAST_TOKEN_FILE`` names,
            the session of who is signed in there, or ``admin-token`` in the data directory, where that can be read.

    Raises:
        InvalidInput: ``url_invalid`` or ``token_unreadable``.
    """
    chosen = address(url, env)
    token = _named_token(token_file, env)
    if token is not None:
        return Connection(url=chosen, token=token)
    session = stored_session(chosen, env)
    if session is not None:
        return Connection(url=chosen, session=session)
    return Connection(url=chosen, token=_first_token(env))


def address(url: str | None, env: Mapping[str, str]) -> str:
    """Where the server is. Raises ``InvalidInput`` (``url_invalid``)."""
    chosen = (url or env.get("HOLDFAST_URL") or DEFAULT_URL).rstrip("/")
    if not chosen.startswith(("http://", "https://")):
        raise InvalidInput(
            "url_invalid",
            f"{chosen!r} is not the address of a server.",
            next_step=f"Give it as http://… or https://…, for example {DEFAULT_URL}.",
        )
    return chosen


def data_dir(env: Mapping[str, str]) -> Path:
    """The data directory that a server on this host would use."""
    return Path(env.get("HOLDFAST_DATA_DIR") or DEFAULT_DATA_DIR)


def _named_token(token_file: str | None, env: Mapping[str, str]) -> str | None:
    if token_file is None and env.get("HOLDFAST_TOKEN"):
        return _checked(env["HOLDFAST_TOKEN"], "HOLDFAST_TOKEN")
    named = token_file or env.get("HOLDFAST_TOKEN_FILE")
    try:
        return _read(Path(named)) if named else None
    except OSError as error:
        raise InvalidInput(
            "token_unreadable",
            f"The token file {named} can't be read: {error.strerror}.",
            next_step="Check the path, and that you may read it.",
        ) from error


def _first_token(env: Mapping[str, str]) -> str | None:
    try:
        return _read(data_dir(env) / "admin-token")
    except OSError:
        return None  # there is none, or it is not this user's business: the server will say that it needs something


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return _checked(file.read(_MAX_TOKEN_BYTES).decode("utf-8", "replace"), str(path))


def _checked(token: str, source: str) -> str:
    """The token, which goes into a header: visible characters only."""
    stripped = token.strip()
    if stripped and stripped.isascii() and stripped.isprintable() and " " not in stripped:
        return stripped
    raise InvalidInput("token_unreadable", f"{source} does not hold a token.", next_step="Put the token there, alone.")
