"""Which tag of a repository is newer than the one that runs.

A tag is text with numbers in it. Two can be compared where only the numbers differ: ``v1.9.2-alpine`` and
``v1.10.0-alpine``, but not ``v1.10.0``, ``v1.10-alpine``, ``v1.10.0-rc1-alpine`` or ``latest``. Of such, the greater
numbers from left to right are newer. Nothing is guessed of what the numbers mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.told import Told, told

_NUMBER: Final = re.compile(r"[0-9]+")
_LONGEST: Final = 128
"""Characters of a tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSearch:
    """What was found.

    Attributes:
        seen: how many tags there are.
        alike: how many of them match the pattern and can be compared with the present one.
        newer: the newest of those; ``None`` if none is newer than the present one.
    """

    seen: int
    alike: int
    newer: str | None


def search(present: str, tags: Iterable[str], pattern: str) -> TagSearch:
    """Look for the newest tag.

    Args:
        present: the tag that runs; it need not match.
        pattern: as of a shell.
    """
    every, written = set(tags), _NUMBER.split(present)
    alike = [
        tag for tag in every if len(tag) <= _LONGEST and fnmatchcase(tag, pattern) and _NUMBER.split(tag) == written
    ]
    newest = max(alike, key=lambda tag: (_numbers(tag), tag), default=present)
    return TagSearch(seen=len(every), alike=len(alike), newer=newest if _numbers(newest) > _numbers(present) else None)


def no_newer(image: str) -> Told | None:
    """Why no tag can be newer than that of an image; ``None`` if one can."""
    ref = parse_image_ref(image)
    if ref.digest is not None:
        return told("update_of_digest", "it runs a digest, which is one image forever")
    if _NUMBER.search(ref.tag or "") is None:
        return told(
            "tag_without_number", "there is no number in {tag}, so no tag is newer", tag=ref.effective_tag or ""
        )
    return None


def _numbers(tag: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in _NUMBER.findall(tag))
