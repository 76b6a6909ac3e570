"""Webhooks in a flood: how soon each is answered, and what becomes of them.

The sender does not wait: a delivery goes out when it is due, whatever became of those before. How long an answer took
is reckoned from when its delivery was due, so that a slow sender makes no figure better. Each delivery is a push with a
body, an id and a signature of its own. What they lead to, real deploys among it, happens meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from benchmarks import web
from benchmarks.server import Server
from benchmarks.tables import counted, judged, quantile, table

RATE: Final = 200
"""Deliveries a second."""
MAX_MS: Final = 20.0
WORKLOADS: Final = 4
"""Each with a webhook of its own; deliveries go to them in turns. Of each, a thousand are kept on record."""
PADDING: Final = 6000
"""Bytes of a body beside what matters; a push of a few commits has about so many."""
_PATIENCE: Final = 120.0
_ENDED: Final = ("succeeded", "superseded", "failed", "ignored", "ping")


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of a workload."""

    workload: str
    id: str
    address: str
    secret: str


@dataclass(frozen=True, slots=True)
class Push:
    """A delivery, as it is sent."""

    address: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a delivery was answered with: status, seconds since it was due, and the ids under which it is kept.

    Without an answer, the status is 0.
    """

    status: int
    seconds: float
    ids: tuple[str, ...]


def measure(server: Server, seconds: float, say: Callable[[str], object]) -> dict[str, Any]:
    """Send for so many seconds, wait until all is applied, and count."""
    hooks = [_made(server, f"hooked-{number}") for number in range(WORKLOADS)]
    pushes = [push(hooks[number % WORKLOADS], number) for number in range(round(seconds * RATE))]
    began = time.monotonic()
    answers = asyncio.run(_sent(str(server.http.base_url), pushes))
    sending = time.monotonic() - began
    say(f"  {len(answers)} sent in {sending:.1f} s; waiting until all is applied")
    outcomes = [
        outcome([answer.ids for answer in answers[number::WORKLOADS]], _kept(server, hook), _operations(server, hook))
        for number, hook in enumerate(hooks)
    ]
    return {
        "sent": len(pushes),
        "a second": len(pushes) / sending,
        "milliseconds": [answer.seconds * 1000 for answer in answers],
        "statuses": dict(Counter(str(answer.status) for answer in answers)),
        **{name: sum(each[name] for each in outcomes) for name in ("unanswered", "lost", "not once")},
        "states": dict(sum((Counter(each["states"]) for each in outcomes), Counter())),
    }


def outcome(
    answered: Sequence[Sequence[str]], kept: Sequence[Mapping[str, Any]], operations: Sequence[str]
) -> dict[str, Any]:
    """What became of the deliveries of a webhook. Of those that a newer one superseded only the newest stay on record.

    Args:
        answered: of each that was sent, the ids with which it was answered.
        kept: what is on record.
        operations: the ids of those that webhooks started.

    Returns:
        ``unanswered``: how many were not answered as received, as their sender knows; ``lost``: how many of the others
        have no record of their own, and can't have been let go of; ``states``: how those on record ended; ``not once``:
        how many were applied without an operation, by one that another had as well, or by more than one.
    """
    by_id = {delivery["id"]: delivery for delivery in kept}
    own = Counter(delivery_id for ids in answered for delivery_id in ids)
    oldest = min((delivery["id"] for delivery in kept if delivery["state"] == "superseded"), default="")
    lost = sum(not all((each in by_id or each < oldest) and own[each] == 1 for each in ids) for ids in answered)
    applied = Counter(delivery["operation_id"] for delivery in kept if delivery["state"] in ("succeeded", "failed"))
    shared = sum(count for operation, count in applied.items() if count > 1 or operation is None)
    return {
        "unanswered": sum(not ids for ids in answered),
        "lost": lost,
        "states": dict(Counter(delivery["state"] for delivery in kept)),
        "not once": shared + len(set(operations) - set(applied)),
    }


def push(hook: Hook, number: int) -> Push:
    """A push to the default branch, as GitHub tells it. Each number makes another one."""
    commit = f"{number + 1:040x}"  # nothing but zeros would tell of the branch's end
    document = {
        "ref": "refs/heads/main",
        "after": commit,
        "repository": {"full_name": "bench/web", "default_branch": "main"},
        "commits": [{"id": commit, "message": "x" * PADDING}],
    }
    body = json.dumps(document).encode()
    signature = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": f"delivery-{number}",
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    return Push(address=hook.address, headers=headers, body=body)


def _made(server: Server, workload: str) -> Hook:
    secret = f"the secret of {workload}".replace(" ", "-")
    web.declare(server, workload)
    asked = {"provider": "github", "secret": secret}
    made = server.http.post(f"/api/workloads/{workload}/webhooks", json=asked).raise_for_status().json()
    return Hook(workload=workload, id=made["id"], address=made["address"], secret=secret)


async def _sent(server: str, pushes: Sequence[Push]) -> list[Answer]:
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    async with aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        began, sent = time.monotonic(), []
        for number, each in enumerate(pushes):
            due = began + number / RATE
            await asyncio.sleep(due - time.monotonic())
            sent.append(asyncio.create_task(_answered(session, each, due)))
        return await asyncio.gather(*sent)


async def _answered(session: aiohttp.ClientSession, sent: Push, due: float) -> Answer:
    try:
        async with session.post(sent.address, data=sent.body, headers=sent.headers) as answer:
            document = await answer.json()
    except aiohttp.ClientError:
        return Answer(status=0, seconds=time.monotonic() - due, ids=())
    ids = tuple(each["id"] for each in document["deliveries"]) if answer.status == 200 else ()
    return Answer(status=answer.status, seconds=time.monotonic() - due, ids=ids)


def _operations(server: Server, hook: Hook) -> list[str]:
    """The ids of the operations that a webhook started."""
    found = _pages(server, f"/api/operations?workload={hook.workload}&limit=200")
    return [operation["id"] for operation in found if operation["actor"] == f"webhook {hook.id}"]


def _kept(server: Server, hook: Hook) -> list[Mapping[str, Any]]:
    """What is on record of a webhook, once all of it has ended."""
    until = time.monotonic() + _PATIENCE
    while True:
        found = _pages(server, f"/api/workloads/{hook.workload}/webhooks/{hook.id}/deliveries?limit=200")
        if all(delivery["state"] in _ENDED for delivery in found):
            return found
        if time.monotonic() > until:
            raise RuntimeError(f"deliveries of {hook.workload} still wait")
        time.sleep(0.5)


def _pages(server: Server, path: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = server.http.get(f"{path}&cursor={cursor}" if cursor else path).raise_for_status().json()
        found += page["items"]
        cursor = page["next_cursor"]
    return found


def targets(figures: Mapping[str, Any]) -> list[list[str]]:
    """Rows: what, wanted, measured."""
    values, many = figures["milliseconds"], f"{figures['sent']:,} webhooks, {RATE} a second"
    return [
        [f"{many}: answered, median", f"{MAX_MS:g} ms", judged(quantile(values, 0.5), MAX_MS)],
        [f"{many}: answered, p99", f"{MAX_MS:g} ms", judged(quantile(values, 0.99), MAX_MS)],
        [f"{many}: not answered as received", "0", counted(figures["unanswered"], 0)],
        [f"{many}: answered as received, and lost", "0", counted(figures["lost"], 0)],
        [f"{many}: applied not at all or more than once", "0", counted(figures["not once"], 0)],
    ]


def report(figures: Mapping[str, Any]) -> list[str]:
    """The table."""
    values = figures["milliseconds"]
    rows = [
        ["sent, each with its own body, id and signature", f"{figures['sent']:,}"],
        ["a second, until the last was answered", f"{figures['a second']:.0f}"],
        *([f"milliseconds, {name}", f"{quantile(values, share):.1f}"] for name, share in _SHARES),
        *(
            [f"answered with {status}" if status != "0" else "not answered", f"{count:,}"]
            for status, count in figures["statuses"].items()
        ),
        *([f"on record as {state}", f"{count:,}"] for state, count in figures["states"].items()),
    ]
    return table([f"webhooks of {WORKLOADS} workloads", ""], rows)


_SHARES: Final = (("median", 0.5), ("90th percentile", 0.9), ("99th percentile", 0.99), ("most", 1.0))
