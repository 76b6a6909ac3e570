"""YAML that strangers may send: parsed by ruamel.yaml, turned into plain JSON values under bounds.

YAML 1.2 (``no`` is a word, not a boolean), one document, JSON's types only, text as keys, no key twice. What YAML can
do beyond JSON is taken with a bound (anchors and aliases: the document that they expand to is counted) or refused
(tags of other types, ``%TAG``, merge keys unless the caller takes them). Dates are text, as in YAML 1.2's core schema.
Positions are kept, so that a problem found later can name line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner, ScannerError
from ruamel.yaml.tokens import Token

from holdfast.api.schemas.document_bounds import MAX_BYTES, MAX_DEPTH, MAX_NODES
from holdfast.domain.errors import InvalidInput, TooLarge

PathKey: TypeAlias = str | int
DocumentPath: TypeAlias = tuple[PathKey, ...]

_MAX_BITS: Final = 64
_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = frozenset({"str", "timestamp", "value"})
_VALUES: Final = frozenset({"null", "bool", "int", "float"})
_LONGEST_TAG: Final = 40
_TAG_END: Final = re.compile(r"[\s\0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """A document's value, and where in the text everything stands: path → (line, column), both from 1."""

    value: object
    positions: dict[DocumentPath, tuple[int, int]] = field(default_factory=dict)

    def position(self, path: DocumentPath) -> tuple[int, int] | None:
        """Where ``path`` stands, or the nearest thing around it that is there."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path)


def read_yaml(text: str, *, merge: bool = False) -> YamlDocument:
    """Read one document.

    Args:
        merge: whether ``<<`` takes over the keys of other mappings (YAML 1.1), as other programs' files do.

    Raises:
        TooLarge: ``yaml_too_large`` or ``yaml_too_complex``.
        InvalidInput: ``yaml_malformed``, with ``line`` and ``column`` (from 1) in its details where they are known.
    """
    if len(text) > MAX_BYTES or len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise TooLarge(
            "yaml_too_large",
            f"The document is larger than {MAX_BYTES // 1024} KiB.",
            next_step="Describe one workload per document; data belongs in a volume, not in the configuration.",
            details={"limit_bytes": MAX_BYTES},
        )
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _Scanner
    try:
        _check_events(yaml.parse(text))
        root = yaml.compose(text)
        if root is None:
            _malformed("The document is empty.", None)
        reader = _Reader(yaml, merge=merge)
        value = reader.value(root, (), 0)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _malformed(f"This is not YAML: {error.problem or error.context}.", mark, error)
    except ReaderError as error:  # a character that no YAML document may contain
        before = text[: error.position]
        mark = StringMark("", error.position, before.count("\n"), len(before) - before.rfind("\n") - 1, text, 0)
        _malformed(f"This is not YAML: {str(error).splitlines()[0]}.", mark, error)
    except YAMLError as error:
        _malformed(f"This is not YAML: {str(error).splitlines()[0]}.", None, error)
    return YamlDocument(value=value, positions=reader.positions)


class _Scanner(Scanner):
    """Refuses a long tag before it is spelled out, which takes the parser seconds. None that is taken is long."""

    def scan_tag(self) -> Token:
        if not _TAG_END.search(self.reader.prefix(_LONGEST_TAG)):
            raise ScannerError("", None, f"a tag is longer than {_LONGEST_TAG} characters", self.reader.get_mark())
        token: Token = super().scan_tag()
        return token


class _Reader:
    """Turns composed nodes into values. Counts what it makes, so that aliases can't multiply without bound."""

    def __init__(self, yaml: YAML, *, merge: bool) -> None:
        self.positions: dict[DocumentPath, tuple[int, int]] = {}
        self._yaml = yaml
        self._merge = merge
        self._nodes = 0

    def value(self, node: Node, path: DocumentPath, depth: int) -> object:
        self._enter(node, depth)
        self.positions.setdefault(path, _position(node.start_mark))
        if isinstance(node, MappingNode) and _tag(node) == "map":
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode) and _tag(node) == "seq":
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        return _malformed(f"The tag {node.tag} is not supported here.", node.start_mark)

    def _enter(self, node: Node, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _too_complex(f"It has more than {MAX_NODES} values once its aliases are followed", node.start_mark)
        if depth > MAX_DEPTH:
            # An alias to something around it never ends, and arrives here too.
            raise _too_complex(f"It is nested deeper than {MAX_DEPTH} levels", node.start_mark)

    def _mapping(self, node: MappingNode, path: DocumentPath, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: list[tuple[Node, Node]] = []
        for key_node, value_node in node.value:
            if _tag(key_node) == "merge" and not self._merge:
                _malformed("Merge keys (<<) are not part of YAML 1.2.", key_node.start_mark)
            if _tag(key_node) == "merge":
                merged.append((key_node, value_node))
                continue
            if not isinstance(key_node, ScalarNode) or _tag(key_node) not in _TEXT:
                _malformed("Keys must be text; put this one in quotes.", key_node.start_mark)
            key = _joined(str(key_node.value))
            if key in values:
                _malformed(f"The key {key!r} is there twice.", key_node.start_mark)
            self.positions[(*path, key)] = _position(key_node.start_mark)
            values[key] = self.value(value_node, (*path, key), depth + 1)
        for key_node, value_node in merged:  # what a mapping says itself counts before what it takes over
            for source in value_node.value if isinstance(value_node, SequenceNode) else [value_node]:
                self._enter(source, depth + 1)
                if not isinstance(source, MappingNode) or _tag(source) != "map":
                    _malformed("A merge key (<<) takes over mappings only.", key_node.start_mark)
                values = {**self._mapping(source, path, depth + 1), **values}
        return values

    def _scalar(self, node: ScalarNode) -> object:
        tag = _tag(node)
        if tag in _TEXT:
            return _joined(str(node.value))
        if tag not in _VALUES:
            _malformed(f"The tag {node.tag} is not supported here.", node.start_mark)
        try:
            value: object = self._yaml.constructor.construct_object(node)
        except (ValueError, KeyError) as error:  # e.g. !!int on something else, or a number of thousands of digits
            _malformed(f"{str(node.value)[:40]!r} is not a valid {tag}.", node.start_mark, error)
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:  # 0xfff… is bounded by nothing else
            _malformed(f"{str(node.value)[:40]!r} is larger than any number here may be.", node.start_mark)
        return value


def _check_events(events: Iterable[Event]) -> None:
    """Look over the document's outline before anything is built of it.

    The parser works lazily: stopping early here also bounds the time that a hostile document takes.
    """
    depth = nodes = 0
    anchors: set[str] = set()
    for event in events:
        if isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
            _malformed("Only YAML 1.2 is read.", event.start_mark)
        if isinstance(event, DocumentStartEvent) and event.tags:  # each node's tag would be as long as its prefix
            _malformed("%TAG is not supported here.", event.start_mark)
        if isinstance(event, CollectionEndEvent):
            depth -= 1
        if not isinstance(event, NodeEvent):
            continue
        nodes += 1
        if nodes > MAX_NODES:
            raise _too_complex(f"It has more than {MAX_NODES} values", event.start_mark)
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_complex(f"It is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        if event.anchor is not None and not isinstance(event, AliasEvent):
            if event.anchor in anchors:
                _malformed(f"The anchor {event.anchor!r} is there twice.", event.start_mark)
            anchors.add(event.anchor)


def _joined(text: str) -> str:
    """``text`` with escaped surrogate pairs (``"\\ud83d\\ude00"``) as the one character that JSON means by them."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _tag(node: Node) -> str:
    return str(node.tag).removeprefix(_TAG)


def _position(mark: StringMark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _too_complex(why: str, mark: StringMark) -> TooLarge:
    line, column = _position(mark)
    return TooLarge(
        "yaml_too_complex",
        f"The document is too complex. {why} (line {line}, column {column}).",
        next_step="Write it out plainly, without nesting and aliases.",
        details={"line": line, "column": column},
    )


def _malformed(message: str, mark: StringMark | None, cause: Exception | None = None) -> NoReturn:
    details: dict[str, object] = {}
    if mark is not None:
        line, column = _position(mark)
        details = {"line": line, "column": column}
        message = f"Line {line}, column {column}: {message}"
    raise InvalidInput("yaml_malformed", message, next_step="Mend the document there.", details=details) from cause
