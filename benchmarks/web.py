"""The small service that is deployed where the platform is measured, and how it is declared and deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.server import Server

IMAGE: Final = "holdfast-bench/web:1"
PROJECT: Final = "bench"
PORT: Final = 8080
PATH: Final = "/version"
SLOW: Final = "/cgi-bin/slow"
SCRIPT: Final = f"""mkdir -p /www/cgi-bin
echo "$VERSION" > /www{PATH}
printf '#!/bin/sh\\nsleep 0.3\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\nslow"\\n' > /www{SLOW}
chmod +x /www{SLOW}
trap 'exit 0' TERM
httpd -f -p {PORT} -h /www & wait $!
"""
"""Answers with its version, at once or after 0.3 s. At TERM it drops everything: what it had under way is lost."""


def declare(server: Server, name: str, *, version: str = "1", more: Mapping[str, Any] | None = None) -> None:
    """Create the workload, or change its configuration. What runs changes with the next deploy."""
    declaration = {
        "name": name,
        "project": PROJECT,
        "source": {"type": "image", "image": IMAGE},
        "env": {"VERSION": version},
        "health": {"type": "http", "port": PORT, "path": PATH, "interval": "100ms"},
        **(more or {}),
    }
    server.http.put(f"/api/workloads/{name}", json=declaration).raise_for_status()


def deploy(server: Server, name: str) -> dict[str, Any]:
    """Deploy it as it is configured. Gives the operation as it ended."""
    return server.run(f"/api/workloads/{name}/deploy")
