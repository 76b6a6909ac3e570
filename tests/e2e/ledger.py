"""A workload with a history, for whatever is about one: two versions, what each left behind, a restore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.site import IMAGE, Site

NAME: Final = "ledger"
EDITIONS: Final = ("first", "second")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The workload, and a server with a browser in front of it.

    Attributes:
        snapshot: the one that was asked for and returned to, of the second edition.
    """

    site: Site
    snapshot: str

    @property
    def data(self) -> Path:
        """Its volume."""
        return self.site.place.volumes / NAME / "data"


def declared(edition: str) -> dict[str, Any]:
    """What it is declared as: the editions differ in what they run with."""
    return {
        "name": NAME,
        "source": {"type": "image", "image": IMAGE},
        "volumes": [{"target": "/data", "scope": "stage", "source": "data"}],
        "env": {"EDITION": edition},
        # says neither yes nor no while its data holds this
        "health": {
            "type": "command",
            "command": ["test", "!", "-e", "/data/hold"],
            "interval": "200ms",
            "deadline": "60s",
        },
        "secrets": ["KEY"],
        "stop_grace": "3s",
    }


async def made(site: Site) -> Ledger:
    """Deploy both editions, each with data of its own, take a snapshot of the second one, and return to it.

    There is another workload beside it, which never ran.
    """
    await site.sign_in()
    place = f"/api/workloads/{NAME}"
    data = site.place.volumes / NAME / "data"
    await site.ask("POST", "/api/workloads", {"name": "another", "source": {"type": "image", "image": "some:1"}})
    await site.ask("POST", "/api/workloads", declared(EDITIONS[0]))
    await site.ask("PUT", f"{place}/secrets/KEY", {"value": "two words"})
    await site.ask("POST", f"{place}/webhooks", {"provider": "generic"})
    for edition in EDITIONS:
        await site.ask("PUT", place, declared(edition))
        await site.run(f"{place}/deploy")
        (data / "book.txt").write_text(f"written by the {edition} edition")
    taken = await site.run(f"{place}/snapshots")
    snapshot = str(taken["snapshot_id"])
    await site.run(f"{place}/snapshots/{snapshot}/restore", **{"X-Confirm-Restore": snapshot})
    return Ledger(site, snapshot)
