"""``holdfast metrics``: what a workload uses of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.moments import moment
from holdfast.cli.output import Output, exact
from holdfast.cli.session import session_of
from holdfast.domain.errors import InvalidInput
from holdfast.domain.times import parse
from holdfast.domain.units import format_duration, format_size, parse_duration

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_BAR: Final = 10
"""Characters of a bar."""


def metrics(
    context: typer.Context,
    workload: options.WorkloadName,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", help="From then on: 30m, 2d, or an RFC 3339 time; an hour if not given."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Up to then, given likewise; now if not given.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", help="How long the time of each line is: 1m, 15m, 1h. Chosen if not given.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show what a workload uses of processors, memory and network, in the last month at most.

    All its instances together; on average and at most. The older, the coarser: samples are kept for a day, quarters of
    an hour for a week, hours for a month.
    """
    session = session_of(context, as_json=as_json)
    found = session.client.get(
        f"/api/workloads/{workload}/metrics", since=moment(since), until=moment(until), step=_seconds(step)
    )
    session.output.document(found)
    items = found["items"]
    if not items:
        session.output.say("Nothing is known of that time: nothing ran, or it has not been looked at yet.")
        _show_volumes(session.output, found["volumes"])
        return
    cpu = _bars([item["cpu_cores"] for item in items])
    memory = _bars([item["memory_bytes"] for item in items])
    session.output.table(
        ("time (UTC)", "cpu", "at most", "", "memory", "at most", "", "received", "sent"),
        [
            (
                f"{parse(item['at']):%Y-%m-%d %H:%M}",
                _cores(item["cpu_cores"]),
                _cores(item["cpu_cores_max"]),
                cpu[index],
                format_size(item["memory_bytes"]),
                format_size(item["memory_bytes_max"]),
                memory[index],
                f"{format_size(item['received_bytes'] // item['covered_seconds'])}/s",
                f"{format_size(item['sent_bytes'] // item['covered_seconds'])}/s",
            )
            for index, item in enumerate(items)
        ],
    )
    session.output.facts(
        [
            ("each line", f"{format_duration(found['step_seconds'])}; cpu in percent of one core"),
            ("an instance may use", _limits(found)),
        ]
    )
    _show_volumes(session.output, found["volumes"])


def _show_volumes(output: Output, sizes: list[dict[str, Any]]) -> None:
    if sizes:
        output.say("")
        output.table(
            ("volume", "looked at", "size"),
            [(size["target"], exact(size["at"]), format_size(size["bytes"])) for size in sizes],
        )


def _seconds(step: str | None) -> int | None:
    if step is None:
        return None
    try:
        return max(1, round(parse_duration(step)))
    except ValueError as error:
        raise InvalidInput(
            "step_invalid", f"The step can't be read: {error}.", next_step="Give it as 5m or 1h."
        ) from error


def _cores(cores: float) -> str:
    return f"{cores * 100:.1f} %"


def _limits(found: dict[str, Any]) -> str:
    cpus, memory = found["cpu_limit_cores"], found["memory_limit_bytes"]
    limits = [f"{cpus:g} cores" if cpus else "", f"{format_size(memory)} of memory" if memory else ""]
    return ", ".join(limit for limit in limits if limit)


def _bars(values: Sequence[float]) -> list[str]:
    """Each value as a bar; the highest is the longest."""
    highest = max(values) or 1
    bars = []
    for value in values:
        whole, eighths = divmod(round(value / highest * _BAR * 8), 8)
        bars.append(("█" * whole + (_EIGHTHS[eighths] if eighths else "")).ljust(_BAR))
    return bars
