"""The admin API of a Caddy: https://caddyserver.com/docs/api."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.domain.errors import Failed, Unavailable
from holdfast.edge.caddy_config import ADMIN_HOST
from holdfast.edge.sockets import who_listens

if TYPE_CHECKING:
    import httpx  # loaded only where there is a Caddy, for the sake of memory

TIMEOUT: Final = 15.0
"""Seconds that one call may take."""
_TAKEN: Final = re.compile(r"listen \w+ (?P<address>\S*):(?P<port>\d+): bind: address already in use")


class CaddyAdmin:
    """Speaks to one Caddy.

    Args:
        address: ``http://host:port``, or the path of a socket.
    """

    def __init__(self, address: str | Path) -> None:
        import httpx

        self.where = str(address)
        on_socket = isinstance(address, Path)
        self._http = httpx.AsyncClient(
            base_url=f"http://{ADMIN_HOST}" if on_socket else str(address),
            transport=httpx.AsyncHTTPTransport(uds=str(address)) if on_socket else httpx.AsyncHTTPTransport(),
            timeout=TIMEOUT,
            trust_env=False,
        )

    async def get(self, path: str) -> Any:
        """What is at a path; ``None`` if nothing is.

        Raises:
            Unavailable: ``edge_unavailable``, ``edge_not_caddy``.
        """
        answer = await self._ask("GET", path)
        if answer.status_code in (400, 404):  # the path leads nowhere
            return None
        return self._json(answer)

    async def change(self, method: str, path: str, value: object = None) -> None:
        """Change the configuration; it takes effect as a whole, or not at all.

        Raises:
            Unavailable: ``edge_unavailable``, ``edge_not_caddy``.
            Failed: ``edge_refused``, ``edge_port_in_use``; what was served is still served.
        """
        answer = await self._ask(method, path, value)
        if answer.is_error:
            raise _refused(str((self._json(answer) or {}).get("error") or answer.reason_phrase))

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, value: object = None) -> httpx.Response:
        import httpx

        try:
            answer = await self._http.request(method, path, json=value)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(
                "edge_unavailable",
                f"Caddy does not answer at {self.where}: {str(error) or type(error).__name__}.",
                next_step="Start Caddy, or correct the setting edge. What runs is not affected.",
                details={"address": self.where},
            ) from error
        if answer.status_code in (401, 403):
            raise self._no_caddy(f"it answers with {answer.status_code}")
        return answer

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._no_caddy("what answers there is no Caddy") from error

    def _no_caddy(self, why: str) -> Unavailable:
        return Unavailable(
            "edge_not_caddy",
            f"The admin API of Caddy can't be used at {self.where}: {why}.",
            next_step="Correct the setting edge. What runs is not affected.",
            details={"address": self.where},
        )


def _refused(words: str) -> Failed:
    taken = _TAKEN.search(words)
    if taken is None:
        return Failed(
            "edge_refused",
            f"Caddy does not take the configuration: {words}. It serves what it served before.",
            next_step="Look at what Caddy says; its own configuration may stand in the way.",
            details={"reason": words},
        )
    port = int(taken["port"])
    who = who_listens(port, taken["address"])
    return Failed(
        "edge_port_in_use",
        f"Caddy can't listen on port {port}: {who or 'another program'} does already.",
        next_step="Stop that program or give Caddy other ports (edge_http_port, edge_https_port), then deploy again.",
        details={"port": port, "by": who},
    )
