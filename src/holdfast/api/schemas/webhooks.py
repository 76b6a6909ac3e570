"""Webhooks on the wire. An address is told once, a secret comes in and never goes out."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from holdfast.api.parameters import PrintableText
from holdfast.api.schemas.told import ToldView, Values
from holdfast.domain.told import Told
from holdfast.domain.webhook import (
    MAX_PATTERN,
    Binding,
    DeliveryState,
    HookAction,
    HookDelivery,
    Provider,
)
from holdfast.services.webhook_intake import Receipt
from holdfast.services.webhooks import BindingState

_USABLE = "^([!-~]{16,512})?$"


def _usable(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(_USABLE, secret.get_secret_value()):
        raise ValueError("a secret is 16 to 512 visible ASCII characters")
    return secret


_Pattern = Annotated[PrintableText, Field(max_length=MAX_PATTERN)]


class WebhookBody(BaseModel, extra="forbid"):
    provider: Annotated[Provider, Field(description="Whose requests it understands; `gitea` is for Forgejo, too.")]
    action: Annotated[
        HookAction,
        Field(description="`preview`: of the branches that `branch` names, or of pull requests where it names none."),
    ] = HookAction.DEPLOY
    secret: Annotated[
        SecretStr,
        Field(
            description="With which requests have to prove themselves: 16 visible ASCII characters or more; empty for "
            "none. Never shown again.",
            json_schema_extra={"writeOnly": True, "pattern": _USABLE},
        ),
        AfterValidator(_usable),
    ] = SecretStr("")
    branch: Annotated[_Pattern, Field(description="Pattern of branches; without it the default branch.")] = ""
    tag: Annotated[
        _Pattern,
        Field(description="Pattern of tags, of source code and of images; without it the tag that the workload runs."),
    ] = ""
    repository: Annotated[_Pattern, Field(description="Pattern of the repository of source code (`owner/name`).")] = ""
    image: Annotated[
        PrintableText,
        Field(
            description="The image repository that is deployed from in place of the workload's own; no tag.",
            max_length=255,
        ),
    ] = ""
    image_tag: Annotated[
        _Pattern,
        Field(
            description="The image's tag where a push or a release of source code is told, with `{branch}`, `{tag}`, "
            "`{sha}`, `{short_sha}`, for previews `{pull}`; without it the configured image."
        ),
    ] = ""
    promote_from: Annotated[
        str,
        Field(
            description="Of a promotion, the workload (id or name) whose image this one gets.",
            pattern="^([a-z0-9][a-z0-9-]{0,63})?$",
        ),
    ] = ""

    def binding(self) -> Binding:
        """What is asked for."""
        return Binding(id="", workload_id="", **self.model_dump(exclude={"secret"}))


class DeliveryView(BaseModel):
    id: str
    event: Annotated[ToldView, Field(description="What it tells, in words.")]
    state: DeliveryState
    code: Annotated[
        str, Field(description="Why it ended as it did, see docs/reference/errors.md; empty if it succeeded.")
    ]
    message: Annotated[str, Field(description="The same in English.")]
    values: Values
    operation_id: str | None
    replay_of: Annotated[str | None, Field(description="The delivery that was applied once more by this one.")]
    actor: Annotated[str, Field(description="Who asked for the replay.")]
    received_at: str
    ended_at: str | None

    @classmethod
    def of(cls, delivery: HookDelivery) -> DeliveryView:
        """The view of a delivery."""
        why = delivery.why or Told("")
        return cls(
            id=delivery.id,
            event=ToldView.of(delivery.event.told),
            state=delivery.state,
            code=why.code,
            message=why.message,
            values=why.values,
            operation_id=delivery.operation_id,
            replay_of=delivery.replay_of,
            actor=delivery.actor,
            received_at=delivery.received_at,
            ended_at=delivery.ended_at,
        )


class WebhookView(BaseModel):
    id: str
    workload_id: str
    provider: Provider
    action: HookAction
    signed: Annotated[bool, Field(description="Whether requests have to prove that they know a secret.")]
    branch: str
    tag: str
    repository: str
    image: str
    image_tag: str
    promote_from: Annotated[str, Field(description="The id of the workload whose image this one gets.")]
    created_at: str
    created_by: str

    @classmethod
    def of(cls, binding: Binding) -> WebhookView:
        """The view of a binding."""
        return cls.model_validate(binding, from_attributes=True)


class CreatedWebhookView(WebhookView):
    address: Annotated[str, Field(description="The path to post to, on this server. Shown this once.")]

    @classmethod
    def made(cls, binding: Binding, address: str) -> CreatedWebhookView:
        """The view of a binding that was just made."""
        return cls(address=address, **WebhookView.of(binding).model_dump())


class RefusedView(BaseModel):
    count: int
    last_at: str
    last_code: str


class WebhookStateView(WebhookView):
    refused: Annotated[RefusedView, Field(description="Requests that were refused since the server started.")]
    last: Annotated[DeliveryView | None, Field(description="The newest delivery.")]

    @classmethod
    def of_state(cls, state: BindingState) -> WebhookStateView:
        """The view of a binding with what it refused and its newest delivery."""
        return cls(
            refused=RefusedView.model_validate(state.refused, from_attributes=True),
            last=None if state.last is None else DeliveryView.of(state.last),
            **WebhookView.of(state.binding).model_dump(),
        )


class WebhooksView(BaseModel):
    items: list[WebhookStateView]


class ReceiptView(BaseModel):
    id: str
    state: DeliveryState
    message: str
    duplicate: Annotated[bool, Field(description="It came before, and counts once.")]

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptView:
        """The view of what a delivery is answered with."""
        delivery = receipt.delivery
        return cls(id=delivery.id, state=delivery.state, message=str(delivery.why or ""), duplicate=receipt.duplicate)


class ReceivedView(BaseModel):
    deliveries: list[ReceiptView]
