"""What is kept of passwords, and whether one is right: argon2id, one at a time.

Each takes a tenth of a second of a processor and 64 MiB, which is what makes guessing dear; so never more than one is
worked on, and few wait. A user who does not exist costs the same as a wrong password.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.domain.accounts import normal_password
from holdfast.domain.errors import TooMany

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

MOST_WAITING: Final = 20
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCost:
    """What one password costs: the second recommended option of RFC 9106, unless a test says otherwise."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4


class Passwords:
    """Makes and checks what is kept of passwords."""

    def __init__(self, cost: PasswordCost | None = None) -> None:
        self._cost = cost or PasswordCost()
        self._nobodys = _nobodys(self._cost)
        self._one = asyncio.Lock()
        self._waiting = 0
        self._made: PasswordHasher | None = None

    async def kept(self, password: str) -> str:
        """What is kept of a password.

        Raises:
            TooMany: ``passwords_busy``.
        """
        return await self._alone(lambda: self._hasher().hash(_bytes(password)))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether a password is the one of which ``kept`` is kept. ``None``, for nobody's, takes as long.

        Raises:
            TooMany: ``passwords_busy``.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        def verified() -> bool:
            try:
                return self._hasher().verify(self._nobodys if kept is None else kept, _bytes(password))
            except (VerificationError, InvalidHashError):
                return False

        return await self._alone(verified) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether what is kept was made at another cost than now."""
        return self._hasher().check_needs_rehash(kept)

    async def _alone(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise TooMany(
                "passwords_busy",
                "Too many sign in at this moment.",
                next_step="Try again in a few seconds. Who is signed in, and every token, goes on.",
            )
        self._waiting += 1
        try:
            async with self._one:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _hasher(self) -> PasswordHasher:
        if self._made is None:
            from argon2 import PasswordHasher  # with the first password: most starts of the server need none

            self._made = PasswordHasher(
                time_cost=self._cost.passes,
                memory_cost=self._cost.memory_kib,
                parallelism=self._cost.lanes,
                hash_len=_HASH_BYTES,
                salt_len=_SALT_BYTES,
            )
        return self._made


def _bytes(password: str) -> bytes:
    return normal_password(password).encode("utf-8", "surrogatepass")


def _nobodys(cost: PasswordCost) -> str:
    """What could be kept of a password that nobody knows: it matches none, and to find that out costs as much."""
    salt, made = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${made}"
