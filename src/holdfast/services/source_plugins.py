"""Finding the sources that are installed: their entry points, what provides them, and loading one.

- ``image`` is Holdfast's own and can't be taken by another distribution.
- Nothing is imported before it is used; metadata that can't be read hides no other distribution's.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final

import structlog

from holdfast import __version__
from holdfast.domain.errors import Problem, Refused
from holdfast.domain.workload import IMAGE_SOURCE
from holdfast.sources import GROUP, Source

_OWN: Final = {
    IMAGE_SOURCE: EntryPoint(name=IMAGE_SOURCE, value="holdfast.sources.image:ImageReference", group=GROUP),
}
_METHODS: Final = ("check", "resolve")
MAX_WORDS: Final = 300
"""Characters of what code that is not Holdfast's own said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """An entry point, and the distribution that brings it (``name version``)."""

    entry: EntryPoint
    by: str


def provided() -> list[Provided]:
    """All sources that are installed, Holdfast's own first. Blocks for some ten milliseconds."""
    own = [Provided(entry=entry, by=f"holdfast {__version__}") for entry in _OWN.values()]
    others = {each.by: each for each in own}
    for each in _installed():
        others.setdefault(f"{each.by} {each.entry.name}", each)  # the same distribution may be on the path twice
    return list(others.values())


def load(kind: str) -> Source:
    """The source of this name. Imports and runs its code.

    Raises:
        Refused: ``source_unknown``, ``source_ambiguous``, ``source_broken``.
    """
    own = _OWN.get(kind)
    if own is not None:
        return _made(own, by="holdfast")
    there = provided()
    found = [each for each in there if each.entry.name == kind]
    if len(found) == 1:
        return _made(found[0].entry, by=found[0].by)
    raise Refused([_ambiguous(kind, found) if found else _unknown(kind, sorted({each.entry.name for each in there}))])


def one_line(value: object) -> str:
    """What code that is not Holdfast's own says, in one line of bounded length that can be kept."""
    return " ".join(str(value).split())[:MAX_WORDS].encode(errors="replace").decode()


def words(error: BaseException) -> str:
    """What an error says, whatever its class makes of that."""
    try:
        said = one_line(error)
    except Exception:  # noqa: BLE001 - it is somebody else's class
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def traced(error: BaseException) -> str:
    """Where an error was raised, for the log."""
    return "".join(traceback.format_exception(error)).encode(errors="replace").decode()


def _installed() -> Iterator[Provided]:
    for distribution in distributions():
        try:
            yield from _of(distribution)
        except Exception as error:  # noqa: BLE001 - metadata is whatever somebody wrote
            structlog.get_logger("sources").warning("metadata_unreadable", reason=words(error))


def _of(distribution: Distribution) -> Iterable[Provided]:
    found = distribution.entry_points.select(group=GROUP)
    by = f"{distribution.name} {distribution.version}" if found else ""
    return [Provided(entry=entry, by=by) for entry in found if entry.name not in _OWN]


def _made(entry: EntryPoint, *, by: str) -> Source:
    try:
        source: Source = entry.load()()
        missing = [method for method in _METHODS if not callable(getattr(source, method, None))]
    except BaseException as error:
        structlog.get_logger("sources").warning("source_broken", source=entry.name, by=by, trace=traced(error))
        raise Refused([broken(entry.name, by, f"it can't be loaded: {words(error)}")]) from error
    if missing:
        raise Refused([broken(entry.name, by, f"it has no method {missing[0]}")])
    return source


def broken(kind: str, by: str, why: str) -> Problem:
    """The problem of a source that can't be used."""
    return Problem(
        code="source_broken",
        message=f"The source {kind} ({by}) can't be used: {why}.",
        next_step="Mend or remove the distribution that provides it, then restart Holdfast.",
        details={"source": kind, "provided_by": by},
    )


def _ambiguous(kind: str, found: Iterable[Provided]) -> Problem:
    by = sorted(each.by for each in found)
    return Problem(
        code="source_ambiguous",
        message=f"{len(by)} distributions provide a source {kind} ({', '.join(by)}), and none of them is used.",
        next_step="Remove all of them but one, then restart Holdfast.",
        details={"source": kind, "provided_by": by},
    )


def _unknown(kind: str, known: list[str]) -> Problem:
    nearest = next(iter(get_close_matches(kind, known, 1)), None)
    return Problem(
        code="source_unknown",
        message=f"There is no source {kind}; there are: {', '.join(known)}.",
        next_step=f"Did you mean {nearest}?"
        if nearest
        else "Use one of them; or install the distribution that provides it beside Holdfast, and restart Holdfast.",
        details={"source": kind, "known": known},
    )
