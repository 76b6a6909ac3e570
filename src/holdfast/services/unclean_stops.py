"""What an operation says of the containers that it stopped and that did not end well: its outcome and its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, cast

from holdfast.domain.stopping import UncleanStop
from holdfast.services.operation_context import OperationContext

UNCLEAN_STOPS: Final = "unclean_stops"
"""Where an operation's outcome has them; not there if all that was stopped ended well."""


def outcome_of(stops: Sequence[UncleanStop]) -> dict[str, object]:
    """What an outcome says of them; nothing if there are none."""
    told = [{**dataclasses.asdict(stop), "brief": stop.brief, "words": stop.words} for stop in stops]
    return {UNCLEAN_STOPS: told} if told else {}


async def tell_unclean_stops(ctx: OperationContext, stops: Sequence[UncleanStop]) -> None:
    """Add them to the outcome first, which nothing keeps from being told, then to the log, durably."""
    for key, told in outcome_of(stops).items():
        ctx.outcome[key] = [*cast("list[object]", ctx.outcome.get(key, [])), *cast("list[object]", told)]
    ctx.log_lines([stop.told for stop in stops], level="warning")
