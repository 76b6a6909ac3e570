"""What workloads used of the machine: a row for each of them and each round, rolled up and trimmed as time goes by.

A round is one transaction. Rows of later than now (the clock was set back) go, too: they would be in the way until that
time has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, literal, or_, select

from holdfast.domain.metrics import ROLLED_UP, SAMPLED, SPANS, MetricsQuery, Span, Used
from holdfast.store.database import Database
from holdfast.store.tables import usage

_FINEST: Final = ROLLED_UP[0].seconds
_VALUES: Final = tuple(usage.c[field.name] for field in fields(Used))


class MetricsStore:
    """All values."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rolled_up = -1

    async def keep(self, at: int, used: Mapping[str, Used]) -> None:
        """Keep what workloads (by id) used in the round that ended at ``at``; roll up and trim what is due.

        What begins before a coarser time is over is here by the first round after it: it is rolled up with the rest.
        """
        due = at // _FINEST
        first = min((value.at for value in used.values()), default=at)

        def write(connection: Connection) -> None:
            connection.execute(delete(usage).where(usage.c.span == SAMPLED.seconds, usage.c.at >= first))
            rows = [{"span": SAMPLED.seconds, "workload_id": key, **asdict(value)} for key, value in used.items()]
            connection.execute(insert(usage), rows)
            if due != self._rolled_up:
                _tidy(connection, at)

        if used:
            await self._database.write(write)
            self._rolled_up = due

    async def read(self, workload_id: str, query: MetricsQuery) -> list[Used]:
        """A workload's values, oldest first: those of the query's span, and samples that are not rolled up yet."""
        asked = (usage.c.workload_id == workload_id, usage.c.at >= query.since, usage.c.at < query.until)
        wanted: ColumnElement[bool] = usage.c.span == query.span.seconds
        if query.span is not SAMPLED:
            wanted = or_(wanted, and_(usage.c.span == SAMPLED.seconds, usage.c.at >= _rolled_up_to(query.span)))
        rows = await self._database.rows(select(*_VALUES).where(wanted, *asked).order_by(usage.c.at))
        return [Used(**row._mapping) for row in rows]


def _tidy(connection: Connection, now: int) -> None:
    for span in SPANS:
        connection.execute(delete(usage).where(usage.c.span == span.seconds, usage.c.at > now))
    for span in ROLLED_UP:
        _roll_up(connection, span, now)
    for span in SPANS:
        connection.execute(delete(usage).where(usage.c.span == span.seconds, usage.c.at < now - span.keep))


def _roll_up(connection: Connection, span: Span, now: int) -> None:
    """Put together what is over and was not yet."""
    begin = usage.c.at // span.seconds * span.seconds
    seconds = func.sum(usage.c.seconds)
    values: dict[str, ColumnElement[int]] = {
        "span": literal(span.seconds),
        "at": begin,
        "workload_id": usage.c.workload_id,
        "seconds": seconds,
        "cpu": func.sum(usage.c.cpu),
        "cpu_max": func.max(usage.c.cpu_max),
        "memory": func.sum(usage.c.memory * usage.c.seconds) // seconds,
        "memory_max": func.max(usage.c.memory_max),
        "received": func.sum(usage.c.received),
        "sent": func.sum(usage.c.sent),
    }
    over = select(*(value.label(name) for name, value in values.items())).where(
        usage.c.span == SAMPLED.seconds,
        usage.c.at >= connection.scalar(select(_rolled_up_to(span))),
        usage.c.at < now - now % span.seconds,
    )
    connection.execute(insert(usage).from_select(list(values), over.group_by(begin, usage.c.workload_id)))


def _rolled_up_to(span: Span) -> ColumnElement[int]:
    """Up to when samples are rolled up."""
    newest = usage.alias()
    last = select(func.max(newest.c.at)).where(newest.c.span == span.seconds).scalar_subquery()
    return func.coalesce(last + span.seconds, 0)
