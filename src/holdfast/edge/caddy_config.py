"""Routes in Caddy's words. Pure: data to data.

All routes of an installation are one route of Caddy's, known by its ``@id``: it is replaced as a whole, and in a Caddy
of somebody else's nothing beside it is touched. Its matcher names the domains, because that is where Caddy looks for
what it needs certificates for.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from holdfast.domain.edge import Route, Tls

JSON: TypeAlias = dict[str, Any]

ADMIN_HOST: Final = "holdfast"
"""The name by which the admin API of Holdfast's own Caddy has to be asked for; browsers can't."""
RETRY_AFTER: Final = 5
"""Seconds after which somebody who found nobody serving should ask again."""
_IDLE: Final = "500ms"
"""How long Caddy keeps a connection to an instance without a request. Soon after the last request that was under way at
a version that is replaced, no connection leads there any more."""
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{seconds}">
<title>{name}: back in a moment</title>
<style>body {{ font: 1.1em/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 32em; padding: 0 1em }}</style>
<h1>Back in a moment</h1>
<p>{name} is being worked on. This page asks again by itself.</p>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where Holdfast's own Caddy listens.

    Attributes:
        address: of this host; empty for all.
    """

    address: str = ""
    http_port: int = 80
    https_port: int = 443
    tls: Tls = Tls.AUTO

    @property
    def port(self) -> int:
        """The port on which workloads are served."""
        return self.http_port if self.tls is Tls.OFF else self.https_port


def installation_route(installation: str, routes: Sequence[Route]) -> JSON:
    """The one route of an installation that has domains."""
    return {
        "@id": route_id(installation),
        "match": [{"host": sorted(domain for route in routes for domain in route.domains)}],
        "handle": [{"handler": "subroute", "routes": [_route(route) for route in routes]}],
        "terminal": True,
    }


def route_id(installation: str) -> str:
    """The name by which the route of an installation is known."""
    return f"holdfast-{installation}"


def own_config(installation: str, routes: Sequence[Route], listen: Listen, directory: Path) -> JSON:
    """The whole configuration of a Caddy that is Holdfast's own.

    Args:
        directory: where it keeps what it keeps.
    """
    config: JSON = {
        "admin": {"listen": f"unix/{admin_socket(directory)}", "origins": [ADMIN_HOST], "config": {"persist": False}},
        "logging": {
            "logs": {
                "default": {
                    "level": "WARN",
                    "writer": {
                        "output": "file",
                        "filename": str(directory / "caddy.log"),
                        "roll_size_mb": 10,
                        "roll_keep": 3,
                    },
                }
            }
        },
        "storage": {"module": "file_system", "root": str(directory / "storage")},
    }
    if not routes:
        return config
    server: JSON = {
        "listen": [f"{listen.address}:{listen.port}"],
        "routes": [installation_route(installation, routes)],
    }
    if listen.tls is Tls.OFF:
        server["automatic_https"] = {"disable": True}
    http: JSON = {
        "http_port": listen.http_port,
        "https_port": listen.https_port,
        "servers": {"holdfast": server},
    }
    config["apps"] = {"http": http}
    if listen.tls is Tls.INTERNAL:
        config["apps"]["tls"] = {"automation": {"policies": [{"issuers": [{"module": "internal"}]}]}}
        config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    return config


def admin_socket(directory: Path) -> Path:
    """Where the admin API of Holdfast's own Caddy is; nobody but root reaches into the directory."""
    return directory / "admin.sock"


def server_for(config: Mapping[str, Any] | None) -> str | None:
    """The name of the server in somebody's Caddy that serves HTTPS; ``None`` if there is none."""
    port = str(https_port(config))
    for name, server in sorted((_http(config).get("servers") or {}).items()):
        if any(str(address).rpartition(":")[2] == port for address in server.get("listen") or ()):
            return str(name)
    return None


def https_port(config: Mapping[str, Any] | None) -> int:
    """The port that somebody's Caddy serves HTTPS on."""
    return int(_http(config).get("https_port") or 443)


def hosts_of_others(config: Mapping[str, Any] | None, installation: str) -> dict[str, str]:
    """The domains that somebody's Caddy serves by itself, and the names of the servers that do."""
    servers = _http(config).get("servers") or {}
    return {
        str(host): str(name)
        for name, server in servers.items()
        for route in server.get("routes") or ()
        if route.get("@id") != route_id(installation)
        for matcher in route.get("match") or ()
        for host in matcher.get("host") or ()
    }


def _http(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return ((config or {}).get("apps") or {}).get("http") or {}


def _route(route: Route) -> JSON:
    handler = _proxy(route.upstreams) if route.upstreams else _come_back(route.domains)
    return {"match": [{"host": list(route.domains)}], "handle": [handler], "terminal": True}


def _proxy(upstreams: Sequence[str]) -> JSON:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": upstream} for upstream in upstreams],
        "transport": {"protocol": "http", "keep_alive": {"idle_timeout": _IDLE}},
    }


def _come_back(domains: Sequence[str]) -> JSON:
    name = html.escape(domains[0])
    return {
        "handler": "static_response",
        "status_code": 503,
        "headers": {
            "Retry-After": [str(RETRY_AFTER)],
            "Content-Type": ["text/html; charset=utf-8"],
            "Cache-Control": ["no-store"],
        },
        "body": _PAGE.format(name=name, seconds=RETRY_AFTER),
    }
