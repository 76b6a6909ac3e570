"""The environment of a workload's containers: what may be in it, and its secrets by name.

Invariant: a value of a secret is never part of a configuration. A configuration names the secret and which of its
values is meant (:class:`SecretRef`), so that it can be stored, compared, shown and returned to like the rest of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from holdfast.domain.errors import InvalidInput, TooLarge

ENV_NAME: Final = "[A-Za-z_][A-Za-z0-9_.-]{0,254}"
"""A pattern of the whole name."""
MAX_VARIABLES: Final = 1000
MAX_ENV_CHARACTERS: Final = 256 * 1024
"""Of all names and values together that are no secrets."""
MAX_VALUE_CHARACTERS: Final = 128 * 1024
"""Of one value that is no secret."""
MAX_SECRETS: Final = 200
MAX_SECRET_BYTES: Final = 64 * 1024
MAX_SECRETS_BYTES: Final = 256 * 1024
"""Of all values of a workload's secrets together: what a program can be started with has an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """A secret by its name, and which of its values is meant. The value itself is sealed elsewhere.

    Attributes:
        version: id of the sealed value; empty while none was set.
        set_at: when that value was set; empty likewise.
    """

    name: str
    version: str = ""
    set_at: str = ""

    @property
    def words(self) -> str:
        """What may be shown of it."""
        return f"set {self.set_at}" if self.version else "not set"


def is_env_name(text: str) -> bool:
    """Whether a variable can have this name."""
    return re.fullmatch(ENV_NAME, text, re.ASCII) is not None


def check_secret_value(name: str, value: str) -> None:
    """Whether a container can be given this value.

    Raises:
        InvalidInput: ``secret_empty``, ``secret_malformed``.
        TooLarge: ``secret_too_large``.
    """
    if not value:
        raise InvalidInput(
            "secret_empty",
            f"The value of {name} is empty, which is most likely a mistake.",
            next_step="Nothing was changed. A variable that is meant to be empty is no secret: put it into env.",
        )
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(
            "secret_malformed",
            f"The value of {name} is not text that a variable can hold: it contains a NUL character, or is no UTF-8.",
            next_step="Nothing was changed. Encode it, in base64 for example, if the program can read that.",
        )
    if len(value.encode()) > MAX_SECRET_BYTES:
        raise TooLarge(
            "secret_too_large",
            f"The value of {name} has more than {MAX_SECRET_BYTES // 1024} KiB.",
            next_step="Nothing was changed. Put large texts into a file on a volume.",
        )


def check_secrets_size(sizes: Iterable[int]) -> None:
    """Whether a workload can have secrets of these sizes, in bytes.

    Raises:
        TooLarge: ``secrets_too_large``.
    """
    every = list(sizes)
    if len(every) > MAX_SECRETS or sum(every) > MAX_SECRETS_BYTES:
        raise TooLarge(
            "secrets_too_large",
            f"A workload has at most {MAX_SECRETS} secrets, of {MAX_SECRETS_BYTES // 1024} KiB all together.",
            next_step="Nothing was changed. Put large texts into a file on a volume.",
        )
