"""Routes that say who may use them, and take nothing in silence.

A route that does not declare just one of :class:`~holdfast.api.auth.Requires` and :class:`~holdfast.api.auth.Public`,
and just one tag, the part of the API that it belongs to, can't be made: the server would not start.

A query parameter that does nothing is refused, and so is one given twice: ``DELETE …?data=true`` must not keep the data
because the parameter is called ``delete_data``. What is asked for goes on record (:mod:`holdfast.api.auditing`), and
that something changed is told to those who look on (:mod:`holdfast.services.updates`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from holdfast.api.auditing import on_record
from holdfast.api.auth import Public, Requires
from holdfast.api.services import ApiServices
from holdfast.domain.accounts import Role, TokenScope
from holdfast.domain.errors import InvalidInput
from holdfast.services.updates import Update

_SHOWN: Final = 60


class StrictRoute(APIRoute):
    """A route that knows its query parameters. Its name for generated clients is stable: that of its function."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **(options | {"generate_unique_id_function": _function_name}))
        declared = list(declarations(self.dependant))
        if len(declared) != 1 or len(self.tags) != 1:
            raise TypeError(f"{self.path} declares {len(declared)} times who may use it, and {len(self.tags)} tags")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, behind the check where it is a route of the API."""
        handle = super().get_route_handler()
        if not self.path.startswith(("/api/", "/metrics")):
            return handle  # what checks whether the server is alive may add what it likes, against caches
        known = sorted(set(_queries(self.dependant)))
        update = Update(part=TokenScope(str(self.tags[0])))

        async def strict(request: Request) -> Response:
            check_query([name for name, _ in request.query_params.multi_items()], known)
            response = await handle(request)
            if request.method != "GET":
                services: ApiServices = request.app.state.services
                services.updates.tell(update)
            return response

        return on_record(self, strict, queries=frozenset(known)) if is_recorded(self) else strict


LOOKS: Final = frozenset({"preview_workload", "import_compose", "get_doctor", "list_audit"})
"""Routes that change nothing and tell nothing secret, although their method or their role could make one think so."""


def is_recorded(route: APIRoute) -> bool:
    """Whether what is asked of a route goes on record: what changes something, and what not every viewer may read."""
    if route.name in LOOKS or not route.path.startswith("/api/"):
        return False
    needs = [declared.role for declared in declarations(route.dependant) if isinstance(declared, Requires)]
    return route.methods != {"GET"} or needs not in ([], [Role.VIEWER])


def declarations(dependant: Dependant) -> Iterator[Requires | Public]:
    """What a route, or what it depends on, declares of who may use it."""
    for inner in dependant.dependencies:
        if isinstance(inner.call, Requires | Public):
            yield inner.call
        yield from declarations(inner)


def _function_name(route: APIRoute) -> str:
    return route.name


def _queries(dependant: Dependant) -> Iterator[str]:
    """The names of the query parameters that a route, or what it depends on, takes."""
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _queries(inner)


def check_query(given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that are not known, or there twice.

    Raises:
        InvalidInput: ``query_unknown`` or ``query_twice``.
    """
    for index, name in enumerate(given):
        shown = name if name.isprintable() and len(name) <= _SHOWN else f"{name[:_SHOWN]!r}…"
        if name not in known:
            nearest = difflib.get_close_matches(name[:_SHOWN], known, 1, cutoff=0.4)
            raise InvalidInput(
                "query_unknown",
                f"This address takes no query parameter {shown}.",
                next_step=f"Did you mean {nearest[0]}? Nothing was done."
                if nearest
                else f"It takes {', '.join(known) or 'none at all'}. Nothing was done.",
                details={"parameter": shown, "known": list(known)},
            )
        if name in given[:index]:
            raise InvalidInput(
                "query_twice",
                f"The query parameter {shown} is there twice.",
                next_step="Give it once. Nothing was done.",
                details={"parameter": shown},
            )
