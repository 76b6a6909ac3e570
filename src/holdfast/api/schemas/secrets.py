"""Secrets on the wire. A value comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.schemas.workload_values import EnvName
from holdfast.domain.environment import MAX_SECRET_BYTES, MAX_SECRETS
from holdfast.services.env_file import MAX_FILE_CHARACTERS
from holdfast.services.secrets import SecretFacts, SecretState


class SecretBody(BaseModel, extra="forbid"):
    value: Annotated[
        SecretStr,
        Field(
            description="Never shown again. Line breaks are part of it.",
            max_length=MAX_SECRET_BYTES,
            json_schema_extra={"writeOnly": True},
        ),
    ]


class EnvBody(BaseModel, extra="forbid"):
    """A `.env` file that is taken over."""

    text: Annotated[
        SecretStr,
        Field(
            description="The file: `NAME=value` lines, with quotes, comments, `export` and values of several lines. "
            "Nothing in it is interpolated.",
            max_length=MAX_FILE_CHARACTERS,
            json_schema_extra={"writeOnly": True},
        ),
    ]
    secrets: Annotated[
        list[EnvName],
        Field(
            max_length=MAX_SECRETS,
            description="Which of its variables are secrets. What is a secret of the workload already stays one.",
        ),
    ] = []
    dry_run: Annotated[bool, Field(description="Only tell what would change.")] = False


class SecretView(BaseModel):
    name: str
    state: Annotated[
        SecretState,
        Field(
            description="`not_set`: the configuration names it and it has no value. `unreadable`: its value can't be "
            "opened, and has to be set again unless the key is put back. `unused`: the configuration doesn't name it."
        ),
    ]
    set_at: Annotated[str | None, Field(description="When its value was set.")]

    @classmethod
    def of(cls, facts: SecretFacts) -> SecretView:
        """The view of a secret."""
        return cls(name=facts.name, state=facts.state, set_at=facts.set_at or None)


class SecretsView(BaseModel):
    items: list[SecretView]
