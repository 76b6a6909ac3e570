"""Bearer tokens: who calls the API.

A token is ``hf_`` and 43 characters of randomness (256 bits), shown once. The database keeps its SHA-256 only; with
that much randomness a slow hash would protect nothing more. It is looked up by its hash, so that what timing could tell
is about a hash that nobody can choose.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from holdfast.domain.accounts import Principal, Role
from holdfast.domain.errors import Failed
from holdfast.domain.ids import new_id
from holdfast.domain.times import now
from holdfast.engine.fs import Fs
from holdfast.store.tokens import TokenRecord, TokenStore

__all__ = ["Principal", "Role", "Tokens"]

_FORM: Final = re.compile(r"hf_[A-Za-z0-9_-]{43}")


class Tokens:
    """Makes and checks tokens."""

    def __init__(self, store: TokenStore, fs: Fs) -> None:
        self._store = store
        self._fs = fs

    async def verify(self, token: str) -> Principal | None:
        """Who carries this token; ``None`` if nobody does."""
        if _FORM.fullmatch(token) is None:
            return None
        record = await self._store.find(_hash(token))
        return None if record is None else Principal(name=record.name, role=record.role)

    async def create(self, name: str, role: Role) -> str:
        """Make a token. It can't be shown again."""
        token = _new_token()
        await self._register(token, name, role)
        return token

    async def ensure_first_admin(self, path: Path) -> str | None:
        """Make sure that somebody can get in: where there is no token at all, make one for ``admin``.

        The token is in the file, durably, before it is valid, so that no crash leaves a valid token that nobody knows:
        a file without a valid token is taken up at the next start.

        Args:
            path: the file for the token, made with mode 0600.

        Returns:
            The token if it became valid now, to be printed once; ``None`` otherwise.

        Raises:
            Failed: ``admin_token_unwritable``.
        """
        if await self._store.count():
            return None
        try:
            token = await asyncio.to_thread(_read_or_create, self._fs, path)
        except OSError as error:
            raise Failed(
                "admin_token_unwritable",
                f"The first token can't be written to {path}: {error.strerror}.",
                next_step="Check the data directory's permissions and free space, then start again.",
            ) from error
        await self._register(token, "admin", Role.ADMIN)
        return token

    async def _register(self, token: str, name: str, role: Role) -> None:
        await self._store.insert(TokenRecord(id=new_id(), hash=_hash(token), name=name, role=role, created_at=now()))


def _new_token() -> str:
    return f"hf_{secrets.token_urlsafe(32)}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read_or_create(fs: Fs, path: Path) -> str:
    """The token in the file, or a new one that is durably there when this returns."""
    try:
        kept = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        kept = ""
    if _FORM.fullmatch(kept) is not None:
        return kept
    token = _new_token()
    directory = fs.open_root(str(path.parent))
    try:
        fs.write_file_durable(directory, os.fsencode(path.name), f"{token}\n".encode())
    finally:
        fs.close(directory)
    return token
