"""Webhooks: bindings of a workload, what came in through them, and the addresses that it comes in through.

The addresses are outside of ``/api`` and need no token: who knows one may do what its binding does, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.requests import ClientDisconnect

from holdfast.api.answers import problems
from holdfast.api.auth import PUBLIC, Operator, Viewer
from holdfast.api.errors import HOOKS
from holdfast.api.parameters import BindingId, Cursor, DeliveryId, Limit, WorkloadRef
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.schemas.webhooks import (
    CreatedWebhookView,
    DeliveryView,
    ReceiptView,
    ReceivedView,
    WebhookBody,
    WebhookStateView,
    WebhooksView,
)
from holdfast.api.services import Services, services_of
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.webhook_payloads import malformed


class _Flooded(StrictRoute):
    """A route without what the framework does for each request: half of what a delivery takes would go there.

    Nothing is asked of a request but its address and its body, and no answer of our own is checked once more.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""

        async def handle(request: Request) -> Response:
            received = await receive_delivery(await services_of(request), request, request.path_params["address"])
            return Response(received.model_dump_json(), media_type="application/json")

        return handle


router = APIRouter(prefix="/api/workloads/{workload}/webhooks", tags=["webhooks"], route_class=StrictRoute)
public = APIRouter(tags=["webhooks"], route_class=_Flooded)

_DELIVERED: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "As the binding's provider documents it.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        },
    }
}


@router.get("", summary="List a workload's webhooks", responses=problems(404))
async def list_webhooks(services: Services, _caller: Viewer, ref: WorkloadRef) -> WebhooksView:
    return WebhooksView(items=[WebhookStateView.of_state(each) for each in await services.webhooks.list(ref)])


@router.post(
    "",
    summary="Make a webhook; its address is told this once",
    status_code=201,
    responses=problems(404, 409, 422),
)
async def create_webhook(
    services: Services, caller: Operator, ref: WorkloadRef, body: WebhookBody
) -> CreatedWebhookView:
    secret = body.secret.get_secret_value()
    binding, address = await services.webhooks.create(ref, body.binding(), secret, actor=caller.name)
    return CreatedWebhookView.made(binding, address)


@router.get("/{webhook}", summary="Look at a webhook", responses=problems(404))
async def get_webhook(services: Services, _caller: Viewer, ref: WorkloadRef, webhook: BindingId) -> WebhookStateView:
    return WebhookStateView.of_state(await services.webhooks.get(ref, webhook))


@router.delete(
    "/{webhook}",
    summary="Forget a webhook, and what came in through it",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def delete_webhook(services: Services, caller: Operator, ref: WorkloadRef, webhook: BindingId) -> Response:
    await services.webhooks.delete(ref, webhook, actor=caller.name)
    return Response(status_code=204)


@router.get(
    "/{webhook}/deliveries",
    summary="List what came in through a webhook, and what became of it, newest first",
    responses=problems(404),
)
async def list_deliveries(
    services: Services,
    _caller: Viewer,
    ref: WorkloadRef,
    webhook: BindingId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[DeliveryView]:
    return page_view(await services.webhooks.deliveries(ref, webhook, limit, cursor), DeliveryView.of)


@router.post(
    "/{webhook}/deliveries/{delivery}/replay",
    summary="Have a delivery applied once more, as a new one",
    status_code=201,
    responses=problems(404, 409, 429),
)
async def replay_delivery(
    services: Services, caller: Operator, ref: WorkloadRef, webhook: BindingId, delivery: DeliveryId
) -> DeliveryView:
    return DeliveryView.of(await services.webhooks.replay(ref, webhook, delivery, actor=caller.name))


@public.post(
    f"{HOOKS}{{address}}",
    summary="Deliver to a webhook",
    dependencies=[PUBLIC],
    description="Answered once it is on disk. Needs no token: the address is the secret, and what the provider signs.",
    responses=problems(404, 422, 429),
    openapi_extra=_DELIVERED,
)
async def receive_delivery(
    services: Services, request: Request, address: Annotated[str, Path(description="As `create` told it.")]
) -> ReceivedView:
    async def read() -> bytes:
        try:
            return await request.body()
        except ClientDisconnect as error:
            raise malformed("the connection ended before all of it had arrived") from error

    receipts = await services.webhooks.receive(address, dict(request.headers), read)
    return ReceivedView(deliveries=[ReceiptView.of(receipt) for receipt in receipts])
