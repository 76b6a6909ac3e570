"""Variables in a compose file's values: ``$X``, ``${X}``, ``${X:-default}``, ``${X:?why}``, ``${X:+other}``, ``$$``.

As the Compose Specification defines them (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md):
with the colon an empty value counts as none, defaults may hold variables themselves, and a variable that is nowhere
set is empty. Values come from whoever sends the file, never from the server's own environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.domain.printable import printable

MAX_CHARACTERS: Final = 1 << 20
"""Of all texts of a compose file once their variables and aliases are followed."""

_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR: Final = re.compile(":?[-?+]")
_MAX_DEPTH: Final = 16
_SECRET: Final = frozenset(
    {"PASSWORD", "PASSWD", "PASS", "PWD", "PASSPHRASE", "SECRET", "SECRETS", "TOKEN", "KEY", "APIKEY", "CREDENTIALS"}
)
_LOGIN: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
"""Of a URL. It begins with what can't be inside of it: a long text takes no longer than its length."""


def mentioned(text: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Those of ``variables`` whose names occur in a compose file: no others are sent anywhere."""
    words = set(_NAME.findall(text))
    if "~" in text:  # a path below the home directory
        words.add("HOME")
    return {name: value for name, value in variables.items() if name in words}


def looks_secret(name: str, value: str = "") -> bool:
    """Whether a variable of this name, or with this value, had better be a secret.

    The name is of a password, token or key (but not of a file that holds one), or the value is a URL with a password.
    """
    words = re.split("[_.-]", name.upper())
    if words[-1] != "FILE" and any(word in _SECRET or word.endswith("PASSWORD") for word in words):
        return True
    return _LOGIN.search(value) is not None


class Variables:
    """Fills values in, within a bound for all of them together.

    Attributes:
        missing: names that were asked for, are nowhere set, and have no default.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._left = MAX_CHARACTERS
        self.missing: set[str] = set()

    def get(self, name: str) -> str | None:
        """The value of a variable; ``None`` if it is not set."""
        return self._values.get(name)

    def filled(self, text: str, where: str) -> tuple[str, frozenset[str]]:
        """``text`` with its variables filled in, and the names of those whose values, or defaults, are in it.

        Args:
            where: the place in the file, for errors.

        Raises:
            InvalidInput: ``compose_variable_malformed``, ``compose_variable_missing``.
            TooLarge: ``compose_too_large``.
        """
        if "$" not in text:
            self.spend(len(text))
            return text, frozenset()
        reader = _Reader(text, self._values, where)
        result = reader.read(end="", depth=0, wanted=True)
        self.missing |= reader.missing
        self.spend(len(result))
        return result, frozenset(reader.used)

    def spend(self, characters: int) -> None:
        """Count what is made.

        Raises:
            TooLarge: ``compose_too_large``.
        """
        self._left -= characters
        if self._left < 0:
            raise TooLarge(
                "compose_too_large",
                "The compose file holds more than 1 MiB of text once variables, aliases and env files are followed.",
                next_step="Split it into several files, or put large texts into files on a volume.",
            )


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, values: Mapping[str, str], where: str) -> None:
        self.missing: set[str] = set()
        self.used: set[str] = set()
        self._text = text
        self._values = values
        self._where = where
        self._at = 0
        self._size = 0

    def read(self, *, end: str, depth: int, wanted: bool) -> str:
        """What stands before ``end``, filled in.

        Args:
            wanted: whether the result is used; if not, nothing in it is missing or required.
        """
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == end:
                return "".join(parts)
            if character != "$":
                stop = next((i for i in range(self._at, len(self._text)) if self._text[i] in ("$", end)), None)
                stop = len(self._text) if stop is None else stop
                parts.append(self._text[self._at : stop])
                self._at = stop
                continue
            self._at += 1
            parts.append(self._variable(depth, wanted=wanted))
            self._size += len(parts[-1])
            if self._size > MAX_CHARACTERS:
                return "".join(parts)  # whoever asked counts it, and refuses it
        if end:
            raise self._malformed("a ${ has no }")
        return "".join(parts)

    def _variable(self, depth: int, *, wanted: bool) -> str:
        following = self._text[self._at : self._at + 1]
        if following == "$":
            self._at += 1
            return "$"
        if following != "{":
            return self._plain(self._name("a $ is followed by no name; write $$ for the character itself"), wanted)
        self._at += 1
        name = self._name("a ${ is followed by no name")
        operator = _OPERATOR.match(self._text, self._at)
        if operator is None:
            self._close()
            return self._plain(name, wanted)
        if depth >= _MAX_DEPTH:
            raise self._malformed(f"variables are nested deeper than {_MAX_DEPTH} levels")
        self._at = operator.end()
        value = self._values.get(name)
        there = bool(value) if operator[0].startswith(":") else value is not None
        kind = operator[0][-1]
        other = self.read(end="}", depth=depth + 1, wanted=wanted and there is (kind == "+"))
        self._close()
        if kind == "+":
            return other if there else ""
        if there:
            return self._plain(name, wanted)
        if kind == "?" and wanted:
            raise InvalidInput(
                "compose_variable_missing",
                f"{self._where}: the variable {name} is required and has no value"
                f"{f': {_line(other)}' if other else ''}.",
                next_step=f"Set {name} in the environment, or in the file .env beside the compose file.",
                details={"path": self._where, "variable": name},
            )
        if wanted and other:
            self.used.add(name)
        return other

    def _plain(self, name: str, wanted: bool) -> str:  # noqa: FBT001 - its one meaning here
        if not wanted:
            return ""
        value = self._values.get(name)
        if value is None:
            self.missing.add(name)
            return ""
        self.used.add(name)
        return value

    def _name(self, otherwise: str) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._malformed(otherwise)
        self._at = match.end()
        return match[0]

    def _close(self) -> None:
        if self._text[self._at : self._at + 1] != "}":
            raise self._malformed("a ${ is not closed, or holds something that is no name, default or message")
        self._at += 1

    def _malformed(self, why: str) -> InvalidInput:
        return InvalidInput(
            "compose_variable_malformed",
            f"{self._where}: {why}.",
            next_step="Write ${NAME}, ${NAME:-default} or ${NAME:?message}; $$ is a plain $.",
            details={"path": self._where},
        )


def _line(text: str) -> str:
    return printable(text[:200])
