"""What is wrong with a declaration, in words: pydantic's findings translated, with paths and next steps.

Every problem has a stable ``code``:

========================  =============================================================
``key_unknown``           no such key; the nearest known one is named
``key_not_supported``     a value of a later version
``key_missing``           something that must be there isn't
``key_has_no_effect``     a key that does nothing where it stands
``value_wrong_type``      text where a list is needed, and the like
``value_unknown``         not one of the words that are possible
``value_out_of_range``    too small, too large, too many
``value_malformed``       anything else
========================  =============================================================

and those of the values and rules themselves (``name_malformed``, ``port_malformed``, ``volume_target_nested`` …).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import ValidationError

from holdfast.domain.errors import InvalidInput
from holdfast.domain.units import format_duration, format_size

Path: TypeAlias = tuple[str | int, ...]
Position: TypeAlias = Callable[[Path], tuple[int, int] | None]
"""Where a path stands in the text, as line and column; ``None`` where there is no text."""

_OTHER_NAMES: Final = {
    "image": "source.image",
    "environment": "env",
    "healthcheck": "health",
    "replicas": "max_instances",
    "stop_grace_period": "stop_grace",
    "restart_policy": "restart",
    "deploy": "resources",
}
"""What other tools call it."""

MAX_PROBLEMS: Final = 50
_MAX_DESCRIBED: Final = 4 * MAX_PROBLEMS
"""Looking for the nearest known key takes its time."""
_DURATIONS: Final = frozenset({"stop_grace", "interval", "timeout", "deadline"})
_SIZES: Final = frozenset({"memory", "size"})
_WORDS: Final = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProblem:
    """One problem. ``message`` continues a sentence that begins with the path."""

    path: Path
    code: str
    message: str
    next_step: str


def describe(error: ValidationError, keys: Mapping[str, Sequence[str]]) -> list[FoundProblem]:
    """What pydantic found, translated; of a great many the first.

    Args:
        keys: the known keys, by the dotted key that they stand under.
    """
    return [_translate(dict(item), keys) for item in error.errors(include_url=False)[:_MAX_DESCRIBED]]


def malformed(problems: Sequence[FoundProblem], position: Position, untold: int = 0) -> InvalidInput:
    """The error that carries all of ``problems``, in the order in which they stand in the text, if there is one.

    Args:
        untold: how many there are beside them.
    """
    count = len(problems) + untold
    if any(position(problem.path) for problem in problems):
        problems = sorted(problems, key=lambda problem: position(problem.path) or (0, 0))
    listed = [_document(problem, position) for problem in problems[:MAX_PROBLEMS]]
    texts = "; ".join(_placed(item) for item in listed[:5])
    more = f"; and {count - 5} more" if count > 5 else ""
    one = count == 1
    return InvalidInput(
        "workload_malformed",
        f"{texts[0].upper() if 'line' in listed[0] else texts[0]}{texts[1:]}."
        if one
        else f"The workload's declaration has {count} problems: {texts}{more}.",
        next_step=str(listed[0]["next_step"]) if one else "Mend each listed problem, then try again.",
        details={"problems": listed},
    )


def _placed(item: Mapping[str, object]) -> str:
    where = f"line {item['line']}, column {item['column']}: " if "line" in item else ""
    return where + str(item["message"]).rstrip(".")


def path_text(path: Path) -> str:
    """``("volumes", 0, "target")`` as ``volumes[0].target``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key is what somebody sent: whatever it holds, the message stays one line of bounded length.
            shown = part if part.isprintable() else repr(part)
            text += ("." if text else "") + (shown if len(shown) <= 60 else shown[:60] + "…")
    return text


def _document(problem: FoundProblem, position: Position) -> dict[str, object]:
    path = path_text(problem.path)
    document: dict[str, object] = {
        "path": path,
        "code": problem.code,
        "message": f"{path or 'The declaration'} {problem.message}.",
        "next_step": problem.next_step,
    }
    where = position(problem.path)
    if where is not None:
        document |= {"line": where[0], "column": where[1]}
    return document


def _translate(item: dict[str, Any], keys: Mapping[str, Sequence[str]]) -> FoundProblem:
    path: Path = tuple(part for part in item["loc"] if part != "[key]")
    kind, context = str(item["type"]), item.get("ctx", {})
    if kind == "problem":
        return FoundProblem(path=path, code=context["code"], message=context["message"], next_step=context["next_step"])
    if kind == "missing":
        return FoundProblem(path=path, code="key_missing", message="is missing", next_step=f"Add {path_text(path)}.")
    if kind == "extra_forbidden":
        return _unknown(path, keys)
    if kind in ("enum", "literal_error"):
        return FoundProblem(
            path=path,
            code="value_unknown",
            message=f"is none of the words that are possible here: {context['expected']}",
            next_step="Use one of them.",
        )
    expected = _WORDS.get(kind.removesuffix("_attributes_type").removesuffix("_type"))
    if kind.endswith("_type") and expected is not None:
        return FoundProblem(
            path=path,
            code="value_wrong_type",
            message=f"must be {expected}, not {_kind_of(item['input'])}",
            next_step="Put the value in quotes."
            if expected == "text" and isinstance(item["input"], (bool, int, float))
            else f"Write {expected}.",
        )
    bound = _out_of_range(kind, context, path)
    if bound is not None:
        return FoundProblem(path=path, code="value_out_of_range", message=bound[0], next_step=bound[1])
    message = str(item["msg"])
    return FoundProblem(
        path=path,
        code="value_malformed",
        message=f"is not possible: {message[0].lower()}{message[1:]}",
        next_step="Mend the value.",
    )


def _out_of_range(kind: str, context: Mapping[str, Any], path: Path) -> tuple[str, str] | None:
    """What is wrong with a value that is too small, too large or too long, and what would be right."""
    match kind:
        case "less_than_equal":
            most = _amount(context["le"], path)
            return f"is more than {most}", f"Write at most {most}."
        case "greater_than_equal":
            least = _amount(context["ge"], path)
            return f"is less than {least}", f"Write at least {least}."
        case "too_long" | "string_too_long":
            unit = "characters" if kind.startswith("string") else "entries"
            return f"has more than {context['max_length']} {unit}", f"Write at most {context['max_length']}."
        case "too_short":
            return "is empty", "Write at least one entry."
        case _:
            return None


def _amount(number: float, path: Path) -> str:
    if path[-1] in _DURATIONS:
        return format_duration(number)
    return format_size(int(number)) if path[-1] in _SIZES else f"{number:g}"


def _unknown(path: Path, keys: Mapping[str, Sequence[str]]) -> FoundProblem:
    key = str(path[-1])
    parent = ".".join(part for part in path[:-1] if isinstance(part, str))
    known = keys.get(parent, ())
    nearest = _OTHER_NAMES.get(key) if not parent else None
    if nearest is None:
        nearest = next(iter(difflib.get_close_matches(key[:60], known, 1, cutoff=0.5)), None)
    return FoundProblem(
        path=path,
        code="key_unknown",
        message="is not a known key",
        next_step=f"Did you mean {nearest}?" if nearest else f"Known here are: {', '.join(known)}.",
    )


def _kind_of(value: object) -> str:
    if value is None:
        return "nothing"
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "one with a fraction",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return kinds.get(type(value), "something else")
