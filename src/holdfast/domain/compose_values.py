"""Single values of a compose file: how Compose writes them, and what they are in a workload's declaration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from holdfast.domain.compose_findings import Findings, Path, words
from holdfast.domain.told import told

MAX_PORTS: Final = 256
"""Of one service, ranges counted out; what a declaration may have."""

_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kmgtp]?)(?:i?b)?", re.ASCII)
_SECONDS: Final = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_DURATION_PART: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|us|m|s)"
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_NOT_IN_NAMES: Final = re.compile("[^a-z0-9]+")
MAX_NAME: Final = 63


def valid_name(text: str, otherwise: str) -> str:
    """``text`` as the name of a workload or project: lower case, digits and single dashes."""
    return _NOT_IN_NAMES.sub("-", text.lower())[:MAX_NAME].strip("-") or otherwise


def scalar(value: object) -> str | None:
    """A text, number or truth value as Compose would write it; ``None`` if it is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    return None


def size(value: object) -> str | int | None:
    """A size, for which Compose counts all units by 1024; ``None`` if it is none."""
    text = scalar(value)
    match = _SIZE.fullmatch(text.strip().lower()) if text is not None and not isinstance(value, bool) else None
    if match is None:
        return None
    count = int(Decimal(match[1]) * 1024 ** " kmgtp".index(match[2] or " "))
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return count


def seconds(value: object) -> float | None:
    """A duration such as ``1m30s``; ``None`` if it is none."""
    if not isinstance(value, str) or len(value) > 60 or not re.fullmatch(f"(?:{_DURATION_PART})+", value, re.ASCII):
        return None
    parts = re.findall(_DURATION_PART, value, re.ASCII)
    return float(sum((Decimal(number) * _SECONDS[unit] for number, unit in parts), Decimal(0)))


def number(value: float) -> int | float:
    """``value`` without a fraction that is none."""
    return int(value) if value == int(value) else value


def pairs(value: object, path: Path, findings: Findings) -> Iterator[tuple[str, object, Path]]:
    """Names and values, written as a mapping or as a list of ``NAME=value``; a name alone has the value ``None``."""
    if isinstance(value, Mapping):
        yield from ((str(name), item, (*path, str(name))) for name, item in value.items())
    elif isinstance(value, list):
        for index, item in enumerate(value):
            text = scalar(item)
            if text is None:
                findings.wrong_type((*path, index), told("wanted_pair", "a text NAME=value"))
                continue
            name, equals, rest = text.partition("=")
            yield name, (rest if equals else None), (*path, index)
    elif value is not None:
        findings.wrong_type(path, told("wanted_pairs", "a mapping, or a list of NAME=value"))


def ports(value: object, path: Path, findings: Findings) -> list[str]:
    """Published ports, one an entry."""
    if not isinstance(value, list):
        if value is not None:
            findings.wrong_type(path, told("wanted_ports", "a list of ports"))
        return []
    made: list[str] = []
    for index, entry in enumerate(value):
        found = _long_port(entry, (*path, index), findings) if isinstance(entry, Mapping) else _short_port(entry)
        if found is None:
            findings.left_out(
                (*path, index),
                told(
                    "import_port_unreadable",
                    "This is no port that can be read.",
                    "Write it into ports as 127.0.0.1:8080:80.",
                ),
            )
            continue
        address, host, container, protocol = found
        if len(host) not in (0, 1, len(container)) and len(container) == 1:
            findings.note(
                (*path, index),
                told(
                    "import_port_chosen",
                    "Compose takes any free port of {first} to {last}; {first} is proposed.",
                    "Choose another one if it is taken.",
                    first=host[0],
                    last=host[-1],
                ),
            )
            host = host[:1]
        if len(host) not in (0, len(container)):
            findings.left_out(
                (*path, index),
                told("import_port_ranges", "The ranges differ in length.", "Write the pairs into ports one by one."),
            )
            continue
        if len(made) + len(container) > MAX_PORTS:
            findings.left_out(
                (*path, index),
                told(
                    "import_too_many_ports",
                    "There are more than {most} ports with these.",
                    "Publish fewer of them.",
                    most=MAX_PORTS,
                ),
            )
            continue
        for place, inner in enumerate(container):
            outer = f"{host[place] if host else ''}"
            front = f"{address}:{outer}:" if address else f"{outer}:" if outer else ""
            made.append(f"{front}{inner}{'' if protocol == 'tcp' else f'/{protocol}'}")
    return made


_Ports = tuple[str, range, range, str]


def _short_port(entry: object) -> _Ports | None:
    """``[[address:][host]:]container[/protocol]`` with ranges."""
    text = scalar(entry)
    if text is None or isinstance(entry, bool) or len(text) > 120:
        return None
    text, _, protocol = text.partition("/")
    front, _, inner = text.rpartition(":")
    address, _, outer = front.rpartition(":")
    container, host = _range(inner), _range(outer) if outer else range(0)
    if container is None or host is None:
        return None
    return _address(address), host, container, protocol.lower() or "tcp"


def _long_port(entry: Mapping[str, object], path: Path, findings: Findings) -> _Ports | None:
    for key in entry:
        if key == "mode" and entry[key] in ("host", "ingress"):
            continue  # a difference between swarm's nodes only
        if key not in ("target", "published", "host_ip", "protocol") and not str(key).startswith("x-"):
            findings.left_out(
                (*path, key),
                told("import_port_key", "A port has no {key} in Holdfast.", "Nothing has to be done.", key=words(key)),
            )
    container = _range(scalar(entry.get("target")) or "")
    published = scalar(entry.get("published")) or ""
    host = _range(published) if published else range(0)
    if container is None or host is None:
        return None
    return (
        _address(scalar(entry.get("host_ip")) or ""),
        host,
        container,
        (scalar(entry.get("protocol")) or "tcp").lower(),
    )


def _address(text: str) -> str:
    """An address as a declaration writes it."""
    bare = text.strip("[]")
    return f"[{bare}]" if ":" in bare else bare


def _range(text: str) -> range | None:
    match = _PORTS.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if 1 <= first <= last <= 65535 else None
