"""Reading a ``.env`` file, as its reference implementation does: quotes, comments, ``export``, values of several lines.

Nothing in it is interpolated: ``$NAME`` stays what it is, since a value that changes with the environment of whoever
reads it could be no part of a configuration.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Final

from holdfast.domain.environment import MAX_VARIABLES, is_env_name
from holdfast.domain.errors import InvalidInput, TooLarge

MAX_FILE_CHARACTERS: Final = 512 * 1024
_TOLD: Final = 20


def read_env_file(text: str, *, required: Collection[str] = ()) -> Mapping[str, str]:
    """The variables of a file. One that is there twice has its last value.

    Args:
        required: names that must be among them.

    Raises:
        InvalidInput: ``env_name_not_there``.
        InvalidInput: ``env_file_malformed``; ``details["problems"]`` lists each bad line, with its number and not with
            what is in it, which may be secret.
        TooLarge: ``env_file_too_large``.
    """
    from dotenv.parser import parse_stream  # only who imports a file needs it

    if len(text) > MAX_FILE_CHARACTERS:
        raise _too_large()
    found: dict[str, str] = {}
    problems: list[dict[str, object]] = []
    for binding in parse_stream(io.StringIO(text.removeprefix("\ufeff"))):
        string = binding.original.string
        line = binding.original.line + string[: len(string) - len(string.lstrip())].count("\n")
        why = ""
        if binding.error:
            why = "is no NAME=value, or a quote is not closed"
        elif binding.key is not None and binding.value is None:
            why = "has a name and no value"
        elif binding.key is not None and not is_env_name(binding.key):
            why = "has a name that no variable can have"
        elif binding.value is not None and "\0" in binding.value:
            why = "has a NUL character in its value"
        elif binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
        if why:
            problems.append({"line": line, "message": f"it {why}"})
    if problems:
        listed = "; ".join(f"line {problem['line']}: {problem['message']}" for problem in problems[:_TOLD])
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise InvalidInput(
            "env_file_malformed",
            f"The file can't be read. {listed[0].upper()}{listed[1:]}{more}.",
            next_step="Mend them: each is NAME=value, a value of several lines stands in quotes. Nothing was changed.",
            details={"problems": problems[:_TOLD]},
        )
    if len(found) > MAX_VARIABLES:
        raise _too_large()
    missing = sorted(name for name in required if name not in found)
    if missing:
        raise InvalidInput(
            "env_name_not_there",
            f"The file has no {', '.join(missing[:_TOLD])}.",
            next_step="Check how it is written there. Nothing was changed.",
        )
    return found


def _too_large() -> TooLarge:
    return TooLarge(
        "env_file_too_large",
        f"The file has more than {MAX_FILE_CHARACTERS // 1024} KiB, or more than {MAX_VARIABLES} variables.",
        next_step="Check that it is a .env file. Nothing was changed.",
    )
