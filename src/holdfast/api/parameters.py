"""What routes take from paths, queries and headers, bounded and validated once, here."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query, Request
from pydantic import AfterValidator, AwareDatetime, Field

from holdfast.domain.accounts import USER_NAME, user_unknown
from holdfast.domain.environment import ENV_NAME, is_env_name
from holdfast.domain.errors import InvalidInput, NotFound
from holdfast.domain.idempotency import RequestKey
from holdfast.domain.ids import is_id
from holdfast.domain.registry import HOST_PATTERN
from holdfast.services.paging import MAX_LIMIT, check_page
from holdfast.services.workloads import ANY_REVISION

_ID: Final = "^[0-7][0-9a-hjkmnp-tv-z]{25}$"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


PrintableText = Annotated[str, AfterValidator(_printable)]
"""Text of one line: it may end up in logs and on terminals."""

NAME: Final = "[a-z0-9][a-z0-9-]{0,63}"


def workload_ref(text: str) -> str:
    """A workload's id or name, as it may stand in an address. Raises ``InvalidInput`` for anything else."""
    if not re.fullmatch(NAME, text):
        shown = text if text.isprintable() and len(text) <= 64 else f"{text[:60]!r}…"
        raise InvalidInput(
            "workload_name_malformed",
            f"{shown} can't be a workload's name: names are 1 to 63 lower-case letters, digits and dashes.",
            next_step="List the workloads with `holdfast workload list`.",
        )
    return text


def _repository_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        shown = text if text.isprintable() and len(text) <= 64 else f"{text[:60]!r}…"
        raise NotFound(
            "repository_unknown",
            f"There is no second repository {shown}.",
            next_step="Look at what there is with `holdfast repository list`.",
        )
    return text


WorkloadRef = Annotated[
    str,
    Path(alias="workload", description="A workload's id or its name.", json_schema_extra={"pattern": f"^{NAME}$"}),
    AfterValidator(workload_ref),
]
WorkloadFilter = Annotated[
    str | None,
    Query(
        alias="workload",
        description="Only those of this workload (id or name).",
        json_schema_extra={"pattern": f"^{NAME}$"},
    ),
    AfterValidator(lambda text: None if text is None else workload_ref(text)),
]


RepositoryNameText = Annotated[str, Field(pattern=f"^{NAME}$", max_length=63)]
"""A repository's name in a body."""

RepositoryName = Annotated[
    str,
    Path(alias="repository", description="A second repository's name.", json_schema_extra={"pattern": f"^{NAME}$"}),
    AfterValidator(_repository_name),
]


def _channel_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        shown = text if text.isprintable() and len(text) <= 64 else f"{text[:60]!r}…"
        raise NotFound(
            "channel_unknown",
            f"There is no channel {shown}.",
            next_step="Look at what there is with `holdfast notification list`.",
        )
    return text


ChannelNameText = Annotated[str, Field(pattern=f"^{NAME}$", max_length=63, description="What it is called here.")]
"""A channel's name in a body."""

ChannelName = Annotated[
    str,
    Path(alias="channel", description="A channel's name.", json_schema_extra={"pattern": f"^{NAME}$"}),
    AfterValidator(_channel_name),
]


def _secret_name(text: str) -> str:
    if not is_env_name(text):
        shown = text if text.isprintable() and len(text) <= 64 else f"{text[:60]!r}…"
        raise InvalidInput(
            "secret_name_malformed",
            f"{shown} is not a name that a variable can have.",
            next_step="Use letters, digits, '_', '.' and '-'; begin with a letter or '_'.",
        )
    return text


SecretName = Annotated[
    str,
    Path(alias="secret", description="The secret's name.", json_schema_extra={"pattern": f"^{ENV_NAME}$"}),
    AfterValidator(_secret_name),
]


RegistryHost = Annotated[
    str,
    Path(
        alias="registry", description="A registry's host and port.", json_schema_extra={"pattern": f"^{HOST_PATTERN}$"}
    ),
    AfterValidator(_printable),
]


def _deployment_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "deployment_unknown",
            f"There is no deployment {text}.",
            next_step="List a workload's deployments to see which there are.",
        )
    return text


def _snapshot_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "snapshot_unknown",
            f"There is no snapshot {text}.",
            next_step="List a workload's snapshots to see which there are.",
        )
    return text


def _operation_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "operation_unknown",
            f"There is no operation {text}.",
            next_step="List the operations to see which there are.",
        )
    return text


def _backup_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "backup_unknown", f"There is no backup {text}.", next_step="See which there are: holdfast backup list"
        )
    return text


BackupId = Annotated[
    str,
    Path(alias="backup", description="A backup's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_backup_id),
]


def _binding_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "binding_unknown",
            f"There is no webhook {text}.",
            next_step="List a workload's webhooks to see which there are.",
        )
    return text


def _delivery_id(text: str) -> str:
    if not is_id(text):
        raise NotFound(
            "delivery_unknown",
            f"There is no delivery {text}.",
            next_step="List a webhook's deliveries to see which there are.",
        )
    return text


BindingId = Annotated[
    str,
    Path(alias="webhook", description="A webhook's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_binding_id),
]
DeliveryId = Annotated[
    str,
    Path(alias="delivery", description="A delivery's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_delivery_id),
]
DeploymentId = Annotated[
    str,
    Path(alias="deployment", description="A deployment's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_deployment_id),
]
SnapshotId = Annotated[
    str,
    Path(alias="snapshot", description="A snapshot's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_snapshot_id),
]
OperationId = Annotated[
    str,
    Path(alias="operation", description="An operation's id.", max_length=64),
    AfterValidator(_printable),
    AfterValidator(_operation_id),
]


def _user_name(text: str) -> str:
    if not re.fullmatch(USER_NAME, text):
        shown = text if text.isprintable() and len(text) <= 64 else f"{text[:60]!r}…"
        raise user_unknown(shown)
    return text


UserName = Annotated[
    str,
    Path(alias="user", description="A user's name.", json_schema_extra={"pattern": f"^{USER_NAME}$"}),
    AfterValidator(_user_name),
]
UserFilter = Annotated[
    str | None,
    Query(description="Those of this user.", json_schema_extra={"pattern": f"^{USER_NAME}$"}),
    AfterValidator(lambda text: None if text is None else _user_name(text)),
]
SessionId = Annotated[
    str, Path(alias="session", description="A session's id.", max_length=64), AfterValidator(_printable)
]
TokenId = Annotated[str, Path(alias="token", description="A token's id.", max_length=64), AfterValidator(_printable)]


def _countable(moment: datetime) -> datetime:
    """Neither the engine nor Python's own arithmetic counts beyond."""
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie between the years 1970 and 9998")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_countable)]

Limit = Annotated[int, Query(description="How many items at most.", ge=1, le=MAX_LIMIT)]


def _cursor(text: str | None) -> str | None:
    check_page(MAX_LIMIT, text)
    return text


def _visible(text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[!-~]+", text):
        raise ValueError("must consist of visible ASCII characters, without spaces")
    return text


Cursor = Annotated[
    str | None,
    Query(description="`next_cursor` of the page before this one.", json_schema_extra={"pattern": _ID}),
    AfterValidator(_cursor),
]
_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any text of the caller's own. The same request with the same key again returns the operation that "
        "it started before; another request with it is refused.",
        min_length=1,
        max_length=200,
        json_schema_extra={"pattern": "^[!-~]+$"},
    ),
    AfterValidator(_visible),
]


async def _request_key(request: Request, key: _Key = None) -> RequestKey | None:
    return None if key is None else RequestKey(key, await _fingerprint(request))


async def _fingerprint(request: Request) -> str:
    """What a request asks for, whatever the order of its parameters or the white space of its body.

    What it confirms is part of it. Of an upload, which is read as it comes, its length is. A passphrase is none: it is
    what something is opened with, and whoever got hold of a fingerprint could try which one it was.
    """
    reads_body = getattr(request.scope["route"], "body_field", None) is not None
    asked = (
        request.method,
        request.scope["path"],
        sorted(request.query_params.multi_items()),
        sorted((name, value) for name, value in request.headers.items() if name.startswith("x-confirm-")),
        _canonical(await request.body()) if reads_body else request.headers.get("content-length", "0"),
    )
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _canonical(body: bytes) -> str:
    try:
        document = json.loads(body)
        if isinstance(document, dict):
            document.pop("passphrase", None)
        return json.dumps(document, sort_keys=True)
    except (ValueError, RecursionError):  # empty, or about to be refused
        return body.hex()


IdempotencyKey = Annotated[RequestKey | None, Depends(_request_key)]

_REVISION: Final = r'(?:W/)?"([!#-~]*)"'
"""As HTTP writes the tag of an entity. What compresses on the way marks it as weak; but it names no bytes."""
_REVISIONS: Final = rf"{_REVISION}(?:[ \t]*,[ \t]*{_REVISION})*"


def _tags(text: str | None) -> str | None:
    if text is not None and text != ANY_REVISION and not re.fullmatch(_REVISIONS, text):
        raise ValueError("must be * or revisions, each in quotes")
    return text


_IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The `ETag` of what the change was made from: its `revision`, in quotes. If it is another one by "
        "now, nothing is changed. `*`: whichever, as long as there is one.",
        max_length=200,
        json_schema_extra={"pattern": f"^(?:\\*|{_REVISIONS})$"},
    ),
    AfterValidator(_tags),
]


async def _made_from(text: _IfMatch = None) -> frozenset[str] | None:
    if text is None:
        return None
    if text == ANY_REVISION:
        return frozenset({ANY_REVISION})
    return frozenset(re.findall(_REVISION, text)) - {ANY_REVISION}


MadeFrom = Annotated[frozenset[str] | None, Depends(_made_from)]
"""The revisions of which the present configuration must be one."""
ConfirmDelete = Annotated[
    str | None,
    Header(
        alias="X-Confirm-Delete",
        description="The id of the snapshot that is to be deleted; proves that it is meant.",
        max_length=64,
        json_schema_extra={"pattern": "^[!-~]+$"},
    ),
    AfterValidator(_visible),
]
ConfirmTakeOver = Annotated[
    str | None,
    Header(
        alias="X-Confirm-Take-Over",
        description="The names of the containers that are to be taken over, joined by commas; proves that it is meant.",
        max_length=16384,
        json_schema_extra={"pattern": "^[!-~]+$"},
    ),
    AfterValidator(_visible),
]
ConfirmRestore = Annotated[
    str | None,
    Header(
        alias="X-Confirm-Restore",
        description="The id of what is to replace what is live: of the snapshot, or of the backup; proves that it is "
        "meant.",
        max_length=64,
        json_schema_extra={"pattern": "^[!-~]+$"},
    ),
    AfterValidator(_visible),
]
