"""Channels on the wire. A secret comes in and never goes out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.parameters import ChannelNameText, PrintableText
from holdfast.api.schemas.errors import ErrorView
from holdfast.domain.notice import Channel, ChannelKind, ChannelSecrets, Mail, MailTls, NoticeKind, Webhook
from holdfast.services.notifications import ChannelState

_Secret = Annotated[
    SecretStr, Field(description="Never shown again.", max_length=1024, json_schema_extra={"writeOnly": True})
]
_Address = Annotated[PrintableText, Field(pattern=r"^[^\s@<>,;:]+@[^\s@<>,;:]+$", max_length=254)]


_URL = r"^https?://[^\s/?#@]+(/\S*)?$"


class WebhookBody(BaseModel, extra="forbid"):
    url: Annotated[
        PrintableText,
        Field(description="Where notices are posted to.", pattern=_URL, max_length=2048),
    ]
    secret: Annotated[_Secret, Field(description="Signs what is posted. Never shown again.")] = SecretStr("")


class ServiceBody(BaseModel, extra="forbid"):
    url: Annotated[
        SecretStr,
        Field(
            description="Its address as Apprise writes it, as in `ntfy://ntfy.sh/my-topic`. Never shown again.",
            min_length=1,
            max_length=2048,
            json_schema_extra={"writeOnly": True},
        ),
    ]


class MailBody(BaseModel, extra="forbid"):
    host: Annotated[PrintableText, Field(description="The mail server.", min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Annotated[
        MailTls,
        Field(strict=False, description="`starttls`, `tls` from the first byte, or `none`: without a login only."),
    ] = MailTls.STARTTLS
    sender: _Address
    recipients: Annotated[list[_Address], Field(min_length=1, max_length=20)]
    username: Annotated[PrintableText, Field(description="Left out: no login.", max_length=254)] = ""
    password: _Secret = SecretStr("")


class ChannelBody(BaseModel, extra="forbid"):
    name: ChannelNameText
    webhook: Annotated[WebhookBody | None, Field(description="Either this …")] = None
    mail: Annotated[MailBody | None, Field(description="… or this …")] = None
    service: Annotated[ServiceBody | None, Field(description="… or this.")] = None
    kinds: Annotated[
        list[Annotated[NoticeKind, Field(strict=False)]],
        Field(description="What is told through it; everything if left out.", max_length=len(NoticeKind)),
    ] = []

    @property
    def secrets(self) -> ChannelSecrets:
        """What is sealed of it."""
        if self.webhook is not None:
            return ChannelSecrets(url=self.webhook.url, secret=self.webhook.secret.get_secret_value())
        if self.service is not None:
            return ChannelSecrets(url=self.service.url.get_secret_value())
        return ChannelSecrets(secret="" if self.mail is None else self.mail.password.get_secret_value())

    @property
    def kind(self) -> ChannelKind:
        """Where it leads: what of the three is there."""
        if self.mail is not None:
            return ChannelKind.MAIL
        return ChannelKind.WEBHOOK if self.webhook is not None else ChannelKind.SERVICE

    def channel(self) -> Channel:
        """The same as the inside of Holdfast knows it; without id and time."""
        webhook, mail = self.webhook, self.mail
        return Channel(
            id="",
            name=self.name,
            kind=self.kind,
            created_at="",
            webhook=None if webhook is None else Webhook(origin=_origin(webhook.url)),
            mail=None
            if mail is None
            else Mail(
                host=mail.host,
                port=mail.port,
                tls=mail.tls,
                sender=mail.sender,
                recipients=tuple(mail.recipients),
                username=mail.username,
            ),
            kinds=tuple(self.kinds),
        )


class ChannelView(BaseModel):
    name: str
    kind: ChannelKind
    target: Annotated[
        str,
        Field(description="Where it leads; of a webhook only the host, of a service its name: the rest may be secret."),
    ]
    kinds: Annotated[list[NoticeKind], Field(description="What is told through it; empty: everything.")]
    created_at: str
    waiting: Annotated[int, Field(description="How many notices wait for it.")]
    error: Annotated[
        ErrorView | None, Field(description="Why the oldest of them was not delivered; null if it was not tried yet.")
    ]

    @classmethod
    def of(cls, state: ChannelState) -> ChannelView:
        """The view of ``state``."""
        channel, error = state.channel, state.error
        return cls(
            name=channel.name,
            kind=channel.kind,
            target=_target(channel),
            kinds=list(channel.kinds),
            created_at=channel.created_at,
            waiting=state.waiting,
            error=None if error is None else ErrorView.of(error),
        )


class ChannelsView(BaseModel):
    items: list[ChannelView]


class DeliveredView(BaseModel):
    delivered: bool


def _target(channel: Channel) -> str:
    if channel.mail is not None:
        return f"{', '.join(channel.mail.recipients)} by {channel.mail.host}"
    return channel.service if channel.webhook is None else channel.webhook.origin


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
