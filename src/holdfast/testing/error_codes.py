"""All error codes, read from the source, and the reference page made of them.

``python -m holdfast.testing.error_codes > docs/reference/errors.md`` writes the page anew; a test holds that it names
exactly the codes that exist. A code is a literal: the first argument of an error's class, ``code=`` anywhere, or an
argument of a function that takes a ``code`` and passes it on.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import holdfast
from holdfast.api.errors import STATUS

_SOURCE: Final = Path(holdfast.__file__).parent
_CLASSES: Final = {kind.__name__: status for kind, status in STATUS} | {"HoldfastError": 500, "Busy": 409}
_DECLARATION: Final = "Problems of a declaration"
_CAUSES: Final = "Causes and differences"
_REFUSED: Final = "Refused"
_TOLD: Final = "Told"
_CODE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TABLES: Final = frozenset({"engine/os_errors.py", "engine/live_problems.py"})
"""Modules that choose a code from a table of tuples that begin with one."""

_INTRODUCTION: Final = """\
# Errors

Every error has a stable code. Over HTTP it comes as

```json
{"error": {"code": "…", "message": "…", "details": {}, "next_step": "…"}}
```

and on the command line as `error: message` and `next: step` on stderr. A refusal lists every reason that was found
under `details.problems`, each with a code of its own; with more than one the error's code is `several_problems`.
The exit codes that belong to the classes are in [the command line's reference](cli.md#exit-codes).

In the words below, `‹…›` stands for what the error names. Where `{places}` stand instead, the error has `values` beside
`details`: what stands there, for saying all of it in another language.

`409` and `503` come with `Retry-After` where trying again helps.

This page is written by `python -m holdfast.testing.error_codes`.
"""

_GROUPS: Final = {
    "InvalidInput": "What was sent is malformed. Nothing was done.",
    "Unauthorized": "Who is asking is unknown.",
    "Forbidden": "Who is asking may not do this.",
    "NotFound": "The named thing does not exist.",
    "Conflict": "The present state of things forbids it.",
    "Busy": "Something else is at work on the same object; try again when it has ended.",
    "Cancelled": "A person cancelled the operation.",
    "PreconditionFailed": "What the request was made from was changed since. Nothing was done.",
    "TooLarge": "A bounded input exceeded its bound.",
    "TooMany": "More comes in than is taken; trying again later helps.",
    _REFUSED: "Understood, checked and declined; nothing was changed.",
    "ConfirmationMissing": "A destructive request came without its confirmation.",
    "Damaged": "Stored data failed verification.",
    "Failed": "An operation failed; the message says what state things were left in.",
    "Unavailable": "The container engine, or another part outside of Holdfast, does not answer.",
    "NoSpace": "Bytes or inodes are missing on a named filesystem.",
    "HoldfastError": "A defect of Holdfast's own.",
    _DECLARATION: "Under `details.problems` of `workload_malformed`, with the place in the declaration.",
    _CAUSES: "Not errors by themselves: why an instance is not healthy (`details.cause`), and what differs from what "
    "was deployed (a workload's status).",
    _TOLD: "Not errors: findings, warnings and whatever else Holdfast tells, with the `values` that stand at their "
    "`{places}`.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One use of a code. ``group`` is the name of an error's class, or of another kind of code."""

    code: str
    group: str
    message: str
    next_step: str


def found_codes() -> dict[tuple[str, str], Code]:
    """Every code by (code, group); of several uses the first."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(_SOURCE.rglob("*.py"))}
    constants = {name: value for tree in trees.values() for name, value in _constants(tree)}
    trees = {path: _Inlined(constants).visit(tree) for path, tree in trees.items()}
    usual_words = {name: words for tree in trees.values() for name, words in _usual_words(tree).items()}
    everywhere = {name: group for tree in trees.values() for name, (_, group) in _passing_on(tree).items()}
    positions = {name: index for tree in trees.values() for name, (index, _) in _passing_on(tree).items()}
    usual_codes = {name: code for tree in trees.values() for name, code in _usual_codes(tree).items()}
    found: dict[tuple[str, str], Code] = {}
    for path, tree in trees.items():
        if path.is_relative_to(_SOURCE / "testing"):
            continue
        own = _passing_on(tree)
        groups = everywhere | {name: group for name, (_, group) in own.items()}
        places = positions | {name: index for name, (index, _) in own.items()}
        uses = list(_uses(tree, groups, places, usual_words | _usual_words(tree), usual_codes))
        if str(path.relative_to(_SOURCE)) in _TABLES:
            tabled = list(_tabled(tree))
            assert tabled, f"{path} has no table of codes any more: say in _TABLES where it is now"
            uses += tabled
        for use in uses:
            found.setdefault((use.code, use.group), use)
    found["cancelled", "Cancelled"] = Code(
        code="cancelled", group="Cancelled", message="The operation was cancelled.", next_step="Start it again."
    )
    found["several_problems", _REFUSED] = Code(
        code="several_problems", group=_REFUSED, message="Several problems.", next_step="Mend each listed problem."
    )
    return found


def documented_codes(page: str) -> set[tuple[str, str]]:
    """The (code, group) pairs that the reference page names."""
    documented: set[tuple[str, str]] = set()
    group = ""
    for line in page.splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ").partition(" (")[0]
        elif match := re.match(r"\| `([a-z0-9_]+)` \|", line):
            documented.add((match[1], group))
    return documented


def rendered(found: Iterable[Code]) -> str:
    """The reference page of these codes."""
    codes = sorted(found, key=lambda code: code.code)
    parts = [_INTRODUCTION]
    for group, meaning in _GROUPS.items():
        rows = [code for code in codes if code.group == group]
        if rows:
            status = f" ({_CLASSES[group]})" if group in _CLASSES else ""
            parts.append(f"## {group}{status}\n\n{meaning}\n\n| code | message | next step |\n|---|---|---|")
            parts[-1] += "".join(f"\n| `{row.code}` | {_cell(row.message)} | {_cell(row.next_step)} |" for row in rows)
            parts[-1] += "\n"
    return "\n".join(parts)


@cache
def _passing_on(tree: ast.AST) -> dict[str, tuple[int, str]]:
    """Functions with a parameter ``code``: its position, and the group of what they, or whom they call, make of it."""
    found: dict[str, tuple[int, str]] = {}
    given_one = list(_given_a_code(tree))
    for _ in range(2):
        for function in given_one:
            names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
            made = [_name(call) for call in ast.walk(function) if isinstance(call, ast.Call)]
            groups = (_group(name) or found.get(name, (0, None))[1] for name in made)
            if group := next(filter(None, groups), None):
                found.setdefault(function.name, (names.index("code"), group))
    return found


def _given_a_code(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name != "__init__":
            arguments = function.args
            if any(argument.arg == "code" for argument in (*arguments.args, *arguments.kwonlyargs)):
                yield function


@cache
def _usual_codes(tree: ast.AST) -> dict[str, ast.expr]:
    """Of functions that take a code, and have one of their own where none is given."""
    return {
        function.name: default
        for function in _given_a_code(tree)
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        if argument.arg == "code" and _text(default) and default is not None
    }


def _group(name: str) -> str | None:
    if name in ("Problem", "Refused"):
        return _REFUSED
    if name in ("FoundProblem", "PydanticCustomError"):
        return _DECLARATION
    if name in ("Told", "told"):
        return _TOLD
    return name if name in _CLASSES else None


class _Inlined(ast.NodeTransformer):
    """Puts texts that have a name in the place of their names."""

    def __init__(self, constants: dict[str, str]) -> None:
        self._constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A text's name becomes the text."""
        if isinstance(node.ctx, ast.Load) and node.id in self._constants:
            return ast.Constant(self._constants[node.id])
        return node


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    assigned = (statement for statement in tree.body if isinstance(statement, ast.AnnAssign))
    for statement in assigned:
        if isinstance(statement.target, ast.Name) and statement.target.id.isupper() and _text(statement.value):
            yield statement.target.id, _text(statement.value)


@cache
def _usual_words(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """What functions that pass a code on say as the message, and as the next step: always, or unless told otherwise."""
    passing_on = _passing_on(tree)
    found: dict[str, tuple[str, str]] = {}
    for function in (each for _ in range(2) for each in _given_a_code(tree) if each.name in passing_on):
        arguments = function.args
        given = dict(zip([a.arg for a in arguments.kwonlyargs], arguments.kw_defaults, strict=True))
        messages, steps = [""], [_text(given.get("next_step"))]
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            steps += [_text(keyword.value) for keyword in call.keywords if keyword.arg == "next_step"]
            messages += [_text(keyword.value) for keyword in call.keywords if keyword.arg == "message"]
            if _group(_name(call)):
                messages += map(_text, call.args)
            message, step = found.get(_name(call), ("", ""))
            messages.append(message)
            steps.append(step)
        found[function.name] = (next(filter(None, messages), ""), next(filter(None, steps), ""))
    return found


def _uses(
    tree: ast.AST,
    groups: dict[str, str],
    positions: dict[str, int],
    usual_words: dict[str, tuple[str, str]],
    usual_codes: dict[str, ast.expr],
) -> Iterator[Code]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = _name(call)
        keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        given: ast.expr | None = keywords.get("code")
        rest: list[ast.expr] = []
        if given is None and (name in _CLASSES or name in positions):
            index = 0 if name in _CLASSES else positions[name]
            if len(call.args) > index:
                given, rest = call.args[index], call.args[index + 1 :]
            else:
                given = usual_codes.get(name)
        group = _group(name) or groups.get(name) or _CAUSES
        words = [_text(argument) for argument in rest if _text(argument)]
        usual_message, usual_step = usual_words.get(name, ("", ""))
        message = _text(keywords.get("message")) or _text(keywords.get("reason")) or next(iter(words), usual_message)
        next_step = _text(keywords.get("next_step")) or (words[1] if len(words) > 1 else usual_step)
        for code in _literals(given):
            yield Code(code=code, group=group, message=message, next_step=next_step)


def _tabled(tree: ast.AST) -> Iterator[Code]:
    for row in ast.walk(tree):
        if isinstance(row, ast.Tuple) and len(row.elts) in (2, 3):
            texts = [_text(element) for element in row.elts]
            if _CODE.fullmatch(texts[0]) and "_" in texts[0] and all(texts):
                group = _REFUSED if len(texts) == 3 else "Failed"
                message = f"‹path› {texts[1]}." if len(texts) == 3 else "The file system refused (‹doing›): ‹words›."
                yield Code(code=texts[0], group=group, message=message, next_step=texts[-1])


def _literals(given: ast.expr | None) -> Iterable[str]:
    if isinstance(given, ast.IfExp):
        return [*_literals(given.body), *_literals(given.orelse)]
    if isinstance(given, ast.Constant) and isinstance(given.value, str) and _CODE.fullmatch(given.value):
        return [given.value]
    return []


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.expr | None) -> str:
    """A literal or formatted string as text, with ``‹name›`` for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return _text(node.body)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else _filled(part) for part in node.values)
    return ""


def _filled(part: ast.expr) -> str:
    """The last plain name in what is filled in: ``workload.name`` is ‹name›."""
    if isinstance(part, ast.FormattedValue) and _text(part.value):
        return _text(part.value)
    names = [
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(part)
        if isinstance(node, ast.Attribute | ast.Name)
    ]
    return f"‹{names[0].strip('_').replace('_', ' ')}›" if names else "‹…›"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ") or "–"


if __name__ == "__main__":
    sys.stdout.write(rendered(found_codes().values()))
