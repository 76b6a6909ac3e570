"""The model of what a declaration says about the workload's previews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator

from holdfast.api.schemas.workload_rules import note, usual_port
from holdfast.api.schemas.workload_values import (
    MAX_DOMAIN,
    STRICT,
    Duration,
    EnvName,
    Text,
    format_domain,
    parse_domain,
    problem,
)
from holdfast.domain.environment import MAX_ENV_CHARACTERS, MAX_VARIABLES
from holdfast.domain.preview import MAX_SHORT, PLACEHOLDER
from holdfast.domain.units import MAX_DURATION
from holdfast.domain.workload import Domain, Port, PreviewPolicy, PreviewSeed

SHORTEST: Final = 60.0
"""Seconds; expired previews are looked for no more often."""

_POLICY: Final = PreviewPolicy()


def _pattern(value: object) -> Domain:
    """A domain that holds the placeholder once, and is a domain with the longest that can stand for it."""
    if isinstance(value, Domain):
        return value
    if not isinstance(value, str) or len(value) > MAX_DOMAIN or value.count(PLACEHOLDER) != 1:
        raise problem(
            "preview_domain_malformed",
            f"needs {PLACEHOLDER} once, in the place of what is each preview's own",
            f"Write, for example, {PLACEHOLDER}.notes.example.org.",
        )
    longest = "x" * MAX_SHORT
    if longest in value:
        raise problem("preview_domain_malformed", "is no name that anybody has", "Write a shorter one.")
    found = parse_domain(value.replace(PLACEHOLDER, longest))
    return Domain(name=found.name.replace(longest, PLACEHOLDER), port=found.port)


DomainPattern = Annotated[
    Domain,
    PlainValidator(_pattern),
    WithJsonSchema({"type": "string", "examples": ["{preview}.notes.example.org"]}),
]


class PreviewsModel(BaseModel):
    """Copies of the workload for a branch, a pull request or a person, each with volumes of its own, for a while.
    They are made by `holdfast preview create` and by webhooks; a file of their own is not needed.
    """

    model_config = STRICT

    domain: Annotated[
        DomainPattern | None,
        Field(
            description="By which each is reached through the edge: `{preview}` stands for what is its own. The port "
            "as in `domains`. By none if left out; published ports get a host port that the engine chooses."
        ),
    ] = None
    env: Annotated[
        dict[EnvName, Text],
        Field(
            max_length=MAX_VARIABLES,
            description="Variables in which they differ, also in place of a secret of that name. `{preview}` and "
            "`{domain}` in the values are filled in.",
        ),
    ] = {}
    seed: Annotated[
        PreviewSeed,
        Field(strict=False, description="What their volumes hold at first: nothing, or what the newest snapshot does."),
    ] = _POLICY.seed
    expires: Annotated[
        Duration,
        Field(
            ge=SHORTEST,
            le=MAX_DURATION,
            description="One that is not updated for so long is removed with its data.",
        ),
    ] = _POLICY.expires
    max: Annotated[int, Field(ge=0, le=1000, description="How many there may be at a time.")] = _POLICY.most
    last_snapshot: Annotated[
        bool, Field(description="Whether a snapshot is taken before one is removed with its data.")
    ] = _POLICY.last_snapshot

    @field_validator("env")
    @classmethod
    def _bounded(cls, value: dict[str, str]) -> dict[str, str]:
        if sum(len(key) + len(text) for key, text in value.items()) > MAX_ENV_CHARACTERS:
            raise problem("value_too_large", "holds more than 256 KiB", "Put large texts into a file on a volume.")
        return value

    def policy(self) -> PreviewPolicy:
        """The same as the inside of Holdfast knows it."""
        return PreviewPolicy(
            domain=self.domain,
            env=tuple(sorted(self.env.items())),
            seed=self.seed,
            expires=self.expires,
            most=self.max,
            last_snapshot=self.last_snapshot,
        )


def with_port(
    previews: PreviewsModel, ports: Sequence[Port] | None, health_port: int | None, info: ValidationInfo
) -> PreviewsModel:
    """The same with the port that requests for a preview's domain go to.

    Args:
        ports: ``None`` where they are malformed.
    """
    domain = previews.domain
    if domain is None or domain.port or ports is None:
        return previews
    usual = usual_port(ports, health_port)
    if not usual:
        note(
            info,
            ("previews", "domain"),
            "domain_port_missing",
            "doesn't say to which port of the container requests go",
            f"Write {domain.name}:PORT.",
        )
    return previews.model_copy(update={"domain": Domain(name=domain.name, port=usual)})


def previews_document(policy: PreviewPolicy) -> dict[str, Any]:
    """The policy as a declaration, without what is a default anyway."""
    usual = _whole_document(_POLICY)
    return {key: value for key, value in _whole_document(policy).items() if value != usual[key]}


def _whole_document(policy: PreviewPolicy) -> dict[str, Any]:
    return {
        "domain": None if policy.domain is None else format_domain(policy.domain),
        "env": dict(policy.env),
        "seed": policy.seed.value,
        "expires": int(policy.expires) if policy.expires == int(policy.expires) else policy.expires,
        "max": policy.most,
        "last_snapshot": policy.last_snapshot,
    }
