"""Channels: who hears of what fails, and how."""

from __future__ import annotations

from fastapi import APIRouter, Response

from holdfast.api.answers import problems
from holdfast.api.auth import Admin, Viewer
from holdfast.api.parameters import ChannelName
from holdfast.api.schemas.notifications import ChannelBody, ChannelsView, ChannelView, DeliveredView
from holdfast.api.services import Services
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.errors import InvalidInput
from holdfast.domain.notice import MailTls
from holdfast.services.notifications import ChannelState

router = APIRouter(prefix="/api/notifications/channels", tags=["notifications"], route_class=StrictRoute)


@router.get("", summary="List the channels, and what waits for them", responses=problems())
async def list_channels(services: Services, _caller: Viewer) -> ChannelsView:
    return ChannelsView(items=[ChannelView.of(each) for each in await services.notifications.list()])


@router.post("", summary="Add a channel", description="Try it with `test`.", status_code=201, responses=problems(409))
async def add_channel(services: Services, _caller: Admin, request: ChannelBody) -> ChannelView:
    mail = request.mail
    if [mail, request.webhook, request.service].count(None) != 2:
        raise InvalidInput(
            "channel_target_missing",
            "A channel leads to a webhook, a mail server or a service: exactly one of them has to be named.",
            next_step="Name `webhook`, `mail` or `service`.",
        )
    if mail is not None and mail.username and mail.tls is MailTls.NONE:
        raise InvalidInput(
            "mail_login_in_the_open",
            "Without TLS a password would travel in the open.",
            next_step="Use starttls or tls, or a server that takes mail without a login.",
        )
    added = await services.notifications.add(request.channel(), request.secrets)
    return ChannelView.of(ChannelState(channel=added))


@router.delete(
    "/{channel}",
    summary="Forget a channel, and what waits for it",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def remove_channel(services: Services, _caller: Admin, name: ChannelName) -> Response:
    await services.notifications.remove(name)
    return Response(status_code=204)


@router.post("/{channel}/test", summary="Deliver a notice through a channel, now", responses=problems(404, 422))
async def try_channel(services: Services, _caller: Admin, name: ChannelName) -> DeliveredView:
    await services.notifications.test(name)
    return DeliveredView(delivered=True)
