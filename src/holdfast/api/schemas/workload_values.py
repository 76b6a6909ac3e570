"""The values inside a workload's declaration: how each is written, checked and bounded.

Each is a pydantic type. A check that fails raises :func:`problem`, whose code and next step reach the reader unchanged;
checks take what was written and return what the inside of Holdfast works with.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from typing import Annotated, Final

import idna
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from holdfast.domain.environment import ENV_NAME, MAX_VALUE_CHARACTERS, is_env_name
from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import is_id
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.units import parse_duration, parse_size
from holdfast.domain.workload import NAMED_SCOPES, Domain, Port, Scope
from holdfast.zones import zone_named

MAX_SOURCE: Final = 1024
MAX_USER_ID: Final = 2**31 - 1
"""The engine's own bound of ids that are given as numbers."""
MAX_COMPONENT: Final = 255
"""Bytes; what file systems take for one name."""

NAME_PATTERN: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SETTING_KEY: Final = "[a-z][a-z0-9_-]{0,62}"
_LABEL_KEY: Final = "[a-z0-9](?:[a-z0-9._/-]{0,253}[a-z0-9])?"
_USER: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?"
_SIGNAL: Final = "(?:SIG)?[A-Z][A-Z0-9]{1,9}(?:[+-][0-9]{1,2})?|[1-9][0-9]?"
_PORT: Final = re.compile(
    r"(?:(?:(?P<ip>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<host>[0-9]*):)?(?P<container>[0-9]+)(?:/(?P<protocol>[a-z]+))?",
    re.ASCII,
)
MAX_DOMAIN: Final = 253
_DOMAIN: Final = re.compile(r"(?P<name>[^:/\s*@]+)(?::(?P<port>[0-9]{1,5}))?")
_DOMAIN_LABEL: Final = re.compile("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
MAX_NAMED_SOURCE: Final = 100
"""Characters of a named volume's source: together with the names before it, it stays a name that is valid on disk."""

_ENGINE_VOLUME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{1,254}", re.ASCII)
"""What the container engine takes for a volume's name, which is a directory's as well."""
_NETWORK: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_ENGINES_OWN: Final = frozenset({"bridge", "host", "none", "default"})
"""Networks of every engine: nothing has a name of its own on them, or they are none."""
_NAMED_SOURCE: Final = re.compile(f"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_NAMED_SOURCE - 1}}}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def problem(code: str, message: str, next_step: str) -> PydanticCustomError:
    """A check's verdict. ``message`` continues a sentence that begins with the value's path."""
    return PydanticCustomError("problem", "{message}", {"code": code, "message": message, "next_step": next_step})


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        raise problem(
            "name_malformed",
            f"can't be {_shown(value)}",
            "Use 1 to 63 lower-case letters, digits and dashes; begin and end with a letter or digit.",
        )
    if is_id(value):
        raise problem("name_malformed", f"can't be {_shown(value)}: it looks like an id", "Choose another name.")
    return value


def _image(value: str) -> str:
    try:
        parse_image_ref(value)
    except InvalidInput as error:
        raise problem(error.code, f"can't be used. {error.message}", error.next_step) from error
    return value


def _env_key(value: str) -> str:
    if not is_env_name(value):
        raise problem(
            "env_name_malformed",
            "is not a name that a variable can have",
            "Use letters, digits, '_', '.' and '-'; begin with a letter or '_'.",
        )
    return value


def _network(value: str) -> str:
    if _NETWORK.fullmatch(value) is None:
        raise problem(
            "name_malformed",
            "is not a name that a network can have",
            "Letters, digits, '_', '.' and '-'; the first a letter or digit. See docker network ls.",
        )
    if value in _ENGINES_OWN:
        raise problem(
            "network_impossible",
            "is a network of every engine's, on which nothing is found by a name",
            "Name one that was made (docker network create), or publish ports.",
        )
    return value


def _zone(value: str) -> str:
    try:
        zone_named(value)
    except ValueError as error:
        raise problem(
            "time_zone_unknown",
            "is no time zone that the server's host knows",
            "A name such as Europe/Berlin; timedatectl list-timezones lists them.",
        ) from error
    return value


def _setting_key(value: str) -> str:
    if not re.fullmatch(_SETTING_KEY, value, re.ASCII):
        raise problem(
            "name_malformed",
            "is not a name that a setting can have",
            "Use 1 to 63 lower-case letters, digits, '_' and '-'; begin with a letter.",
        )
    return value


def _label_key(value: str) -> str:
    if value == "holdfast" or value.startswith("holdfast."):
        raise problem(
            "label_reserved",
            "is reserved: labels that begin with holdfast. are Holdfast's own",
            "Choose another name for the label.",
        )
    if not re.fullmatch(_LABEL_KEY, value, re.ASCII):
        raise problem(
            "label_malformed",
            "is not a name that a label can have",
            "Use lower-case letters, digits, '.', '-', '_' and '/'; begin and end with a letter or digit.",
        )
    return value


def _text(value: str) -> str:
    if "\0" in value or not _is_unicode(value):
        raise problem(
            "value_malformed", "contains a NUL character or half of a surrogate pair", "Remove it; no program reads it."
        )
    return value


def _is_unicode(value: str) -> bool:
    """Whether UTF-8 can write it: JSON can carry halves of surrogate pairs, which nothing else can."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _user(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # `user: 1000` is what people write
    if not isinstance(value, str):
        return value
    if not re.fullmatch(_USER, value, re.ASCII):
        raise problem("user_malformed", f"can't be {_shown(value)}", "Write uid, uid:gid, or names: 1000:1000.")
    if any(part.isdigit() and int(part) > MAX_USER_ID for part in value.split(":")):
        raise problem("user_malformed", f"can't be {_shown(value)}", f"User and group ids end at {MAX_USER_ID}.")
    return value


def _signal(value: str) -> str:
    if not re.fullmatch(_SIGNAL, value, re.ASCII):
        raise problem("signal_malformed", f"can't be {_shown(value)}", "Write a signal's name, such as SIGINT.")
    return value


def _size(value: object) -> object:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return parse_size(value)
        except ValueError as error:
            raise problem("size_malformed", f"can't be read: {error}", "Write, for example, 512MiB.") from error
    raise problem("size_malformed", "is not a size", "Write, for example, 512MiB.")


def _duration(value: object) -> object:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise problem("duration_malformed", f"can't be read: {error}", "Write, for example, 30s.") from error
    raise problem("duration_malformed", "is not a duration", "Write, for example, 30s.")


def parse_port(value: object) -> Port:
    """A published port from ``80``, ``8080:80``, ``127.0.0.1:8080:80/udp``, ``[::1]:8080:80`` or ``127.0.0.1::80``."""
    if isinstance(value, Port):
        return value
    match = None
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        match = _PORT.fullmatch(str(value)) if len(str(value)) <= 80 else None
    if match is None:
        raise _bad_port(value)
    container, host = int(match["container"]), int(match["host"] or 0)
    protocol = match["protocol"] or "tcp"
    given_host_is_zero = bool(match["host"]) and host == 0
    if not 1 <= container <= 65535 or host > 65535 or given_host_is_zero or protocol not in ("tcp", "udp", "sctp"):
        raise _bad_port(value)
    if match["ip"] is None:
        return Port(container_port=container, host_port=host, protocol=protocol)
    try:
        address = ipaddress.ip_address(match["ip"].strip("[]"))
    except ValueError as error:
        raise _bad_port(value) from error
    if (address.version == 6) != match["ip"].startswith("["):
        raise _bad_port(value)
    return Port(container_port=container, host_port=host, host_ip=str(address), protocol=protocol)


def format_port(port: Port) -> str:
    """``port`` as :func:`parse_port` reads it."""
    ip = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    protocol = "" if port.protocol == "tcp" else f"/{port.protocol}"
    host = str(port.host_port or "")
    if port.host_ip != Port(container_port=1).host_ip:
        return f"{ip}:{host}:{port.container_port}{protocol}"
    return f"{host}:{port.container_port}{protocol}" if host else f"{port.container_port}{protocol}"


def parse_domain(value: object) -> Domain:
    """A domain from ``notes.example.org`` or ``notes.example.org:8080``; without a port the port is 0.

    International names are brought into the form in which they are asked for: lower case, ``xn--…``.
    """
    if isinstance(value, Domain):
        return value
    match = _DOMAIN.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_DOMAIN + 6 else None
    if match is None:
        raise _bad_domain(value)
    port = int(match["port"] or 0)
    if match["port"] is not None and not 1 <= port <= 65535:
        raise problem("domain_malformed", f"can't be {_shown(value)}", "Ports lie between 1 and 65535.")
    try:
        name = idna.encode(match["name"], uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise _bad_domain(value) from error
    if len(name) > MAX_DOMAIN or not all(re.fullmatch(_DOMAIN_LABEL, label) for label in name.split(".")):
        raise _bad_domain(value)
    if name.rpartition(".")[2].isdigit():
        raise problem("domain_malformed", f"is {_shown(value)}, an address", "Write a name that leads to this host.")
    return Domain(name=name, port=port)


def format_domain(domain: Domain) -> str:
    """``domain`` as :func:`parse_domain` reads it."""
    return f"{domain.name}:{domain.port}"


def _bad_domain(value: object) -> PydanticCustomError:
    return problem(
        "domain_malformed",
        f"can't be {_shown(value)}",
        "Write a plain name without scheme, path, '*' and final dot, and the container's port after it if need be: "
        "notes.example.org:8080.",
    )


def _target(value: str) -> str:
    if not value.startswith("/") or len(value) > MAX_SOURCE or _is_odd(value) or len(value.encode()) > MAX_SOURCE:
        raise problem("volume_target_malformed", f"can't be {_shown(value)}", "Write an absolute path: /data.")
    normal = "/" + posixpath.normpath(value).lstrip("/")
    if normal == "/":
        raise problem("volume_target_malformed", "can't be / itself", "Mount the volume on a directory: /data.")
    if normal != value:
        raise problem("volume_target_malformed", f"is not in its plain form: {_shown(value)}", f"Write {normal}.")
    return value


def check_source(value: str, scope: Scope) -> str:
    """Check a volume's source: a host path, a path below a directory of Holdfast's own, or part of a name."""
    if scope in NAMED_SCOPES:
        if _NAMED_SOURCE.fullmatch(value) is None:
            raise problem(
                "volume_source_malformed",
                f"can't be {_shown(value)}",
                f"Scope {scope.value} needs a name: a letter or digit, then up to {MAX_NAMED_SOURCE - 1} letters, "
                "digits, '.', '_' and '-'.",
            )
        return value
    absolute = scope is Scope.ABSOLUTE
    if len(value) > MAX_SOURCE or len(value.encode(errors="surrogatepass")) > MAX_SOURCE:
        raise problem("volume_source_malformed", f"is longer than {MAX_SOURCE} bytes", "Choose a shorter path.")
    if absolute != value.startswith("/"):
        raise problem(
            "volume_source_malformed",
            f"can't be {_shown(value)}",
            "Scope absolute needs an absolute path of the host; the scopes stage and project a name, such as data.",
        )
    parts = value[1:].split("/") if absolute else value.split("/")
    for part in parts:
        if part in ("", ".", "..") or _is_odd(part) or len(part.encode()) > MAX_COMPONENT:
            raise problem(
                "volume_source_malformed",
                f"can't be {_shown(value)}",
                "Write a plain path, without empty parts, '.', '..' and control characters.",
            )
        if part.startswith(".holdfast-") or part == ".instances":
            raise problem(
                "volume_source_reserved",
                f"can't be {_shown(value)}: names such as {_shown(part)} are Holdfast's own",
                "Choose another name.",
            )
    return value


def _engine_volume(value: str) -> str:
    if _ENGINE_VOLUME.fullmatch(value) is None:
        raise problem(
            "engine_volume_malformed",
            f"can't be {_shown(value)}",
            "Write the volume's name as `docker volume ls` shows it.",
        )
    return value


def _is_odd(value: str) -> bool:
    return _CONTROL.search(value) is not None or not _is_unicode(value)


def _health_path(value: str) -> str:
    if not value.startswith("/") or not value.isascii() or " " in value or _CONTROL.search(value):
        raise problem(
            "health_path_malformed", f"can't be {_shown(value)}", "Write a path as in a URL: /healthz, percent-encoded."
        )
    return value


def _bad_port(value: object) -> PydanticCustomError:
    return problem(
        "port_malformed",
        f"can't be {_shown(value)}",
        'Write [address:][host port:]container port[/udp], for example "127.0.0.1:8080:80"; one port per entry.',
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


_SIZE_SCHEMA: Final = {"type": ["string", "integer"], "examples": ["512MiB", "1GiB", 1048576]}
_DURATION_SCHEMA: Final = {"type": ["string", "number"], "examples": ["30s", "1m30s", "500ms", 2]}
_DOMAIN_SCHEMA: Final = {"type": "string", "examples": ["notes.example.org", "notes.example.org:8080"]}
_PORT_SCHEMA: Final = {
    "type": ["string", "integer"],
    "examples": ["127.0.0.1:8080:80", "8080:80/udp", "80", "[::1]:8080:80"],
}


def _pattern(pattern: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", **more})


Name = Annotated[str, AfterValidator(_name), _pattern(NAME_PATTERN)]
ImageReference = Annotated[str, AfterValidator(_image)]
STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
"""What every part of a declaration is: nothing unknown, nothing converted, nothing changed afterwards."""

Text = Annotated[str, AfterValidator(_text), Field(max_length=MAX_VALUE_CHARACTERS)]
NetworkName = Annotated[str, AfterValidator(_network), _pattern(_NETWORK.pattern)]
ZoneName = Annotated[str, AfterValidator(_zone), Field(max_length=100)]
EnvName = Annotated[str, AfterValidator(_env_key), _pattern(ENV_NAME)]
SettingName = Annotated[str, AfterValidator(_setting_key), _pattern(_SETTING_KEY)]
LabelName = Annotated[str, AfterValidator(_label_key), _pattern(_LABEL_KEY)]
LabelValue = Annotated[str, AfterValidator(_text), Field(max_length=4096)]
User = Annotated[str, BeforeValidator(_user), WithJsonSchema({"type": ["string", "integer"]})]
Signal = Annotated[str, AfterValidator(_signal), _pattern(_SIGNAL)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PublishedPort = Annotated[Port, PlainValidator(parse_port), WithJsonSchema(_PORT_SCHEMA)]
DomainName = Annotated[Domain, PlainValidator(parse_domain), WithJsonSchema(_DOMAIN_SCHEMA)]
Target = Annotated[str, AfterValidator(_target), WithJsonSchema({"type": "string", "pattern": "^/."})]
EngineVolumeName = Annotated[str, AfterValidator(_engine_volume), _pattern(_ENGINE_VOLUME.pattern)]
HealthPath = Annotated[str, AfterValidator(_health_path), Field(max_length=1024)]
