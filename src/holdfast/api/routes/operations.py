"""Operations: list, look, follow, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import StreamingResponse

from holdfast.api.answers import OPERATIONS_PATH, problems
from holdfast.api.auth import Follower, Operator, Viewer
from holdfast.api.parameters import Cursor, Limit, OperationId, WorkloadFilter
from holdfast.api.schemas.operation import OperationView
from holdfast.api.schemas.pages import PageView, page_view
from holdfast.api.services import Services
from holdfast.api.sse import STREAM, event_stream
from holdfast.api.strict_route import StrictRoute
from holdfast.domain.operation import Operation

router = APIRouter(prefix=OPERATIONS_PATH, tags=["operations"], route_class=StrictRoute)


@router.get("", summary="List operations, newest first", responses=problems(404))
async def list_operations(
    services: Services,
    _caller: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    workload: WorkloadFilter = None,
) -> PageView[OperationView]:
    workload_id = None if workload is None else (await services.workloads.get(workload)).id
    return page_view(await services.operations.list(limit, cursor, workload_id), OperationView.of)


@router.get("/{operation}", summary="Look at an operation", responses=problems(404))
async def get_operation(services: Services, _caller: Viewer, operation_id: OperationId) -> OperationView:
    return OperationView.of(await services.operations.get(operation_id))


@router.post("/{operation}/cancel", summary="Cancel an operation", status_code=202, responses=problems(404, 409))
async def cancel_operation(services: Services, _caller: Operator, operation_id: OperationId) -> OperationView:
    return OperationView.of(await services.operations.cancel(operation_id))


async def _existing(services: Services, operation_id: OperationId) -> Operation:
    """Unknown operations are refused before the stream begins."""
    return await services.operations.get(operation_id)


@router.get(
    "/{operation}/events",
    summary="Follow an operation as server-sent events",
    description="Begins with the operation as it stands, sends it again as `event: operation` with each change, and "
    "ends after its final state. A new connection begins with the present state again, so that nothing is missed.",
    response_class=StreamingResponse,
    responses=problems(404) | {200: STREAM},
)
async def follow_operation(
    services: Services,
    _caller: Viewer,
    onlooker: Follower,
    operation: Annotated[Operation, Depends(_existing)],
) -> StreamingResponse:
    documents = _documents(services.operations.events(operation.id))
    return event_stream("operation", documents, onlooker)


async def _documents(operations: AsyncIterator[Operation]) -> AsyncIterator[str]:
    async for operation in operations:
        yield OperationView.of(operation).model_dump_json()
