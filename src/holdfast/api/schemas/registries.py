"""Logins of registries, on the wire. A password comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.parameters import PrintableText
from holdfast.domain.registry import MAX_PASSWORD, MAX_USERNAME, RegistryFacts


class RegistryBody(BaseModel, extra="forbid"):
    registry: Annotated[
        PrintableText,
        Field(
            description="Its host and port, as images name it.",
            min_length=1,
            max_length=255,
            examples=["registry.example:5000", "docker.io"],
        ),
    ]
    username: Annotated[PrintableText, Field(min_length=1, max_length=MAX_USERNAME)]
    password: Annotated[
        SecretStr,
        Field(
            description="Or an access token. Never shown again.",
            min_length=1,
            max_length=MAX_PASSWORD,
            json_schema_extra={"writeOnly": True},
        ),
    ]


class RegistryView(BaseModel):
    registry: str
    username: str
    set_at: str
    readable: Annotated[
        bool, Field(description="Whether its password can be opened; if not, it has to be added again.")
    ]

    @classmethod
    def of(cls, facts: RegistryFacts) -> RegistryView:
        """The view of a login."""
        return cls(registry=facts.host, username=facts.username, set_at=facts.set_at, readable=facts.readable)


class RegistriesView(BaseModel):
    items: list[RegistryView]
