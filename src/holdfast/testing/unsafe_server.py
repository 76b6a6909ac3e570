"""``holdfast serve`` with one protection taken out, to show that a checker of real servers notices.

``python -m holdfast.testing.unsafe_server``: containers that are stopped keep their restart policies, so that an engine
that comes back starts them in the middle of a restore (what I4 forbids); and it hesitates before each exchange, so that
there is time for that. Settings come from the environment alone.
"""

from __future__ import annotations

import os
import time
from typing import Final

from holdfast.bootstrap import Seams, serve
from holdfast.config import Settings
from holdfast.config_reading import load_settings
from holdfast.domain.workload import RestartPolicy
from holdfast.engine.fs import Fs
from holdfast.runtime.docker import DockerRuntime

HESITATES: Final = 0.5
"""Seconds before an exchange."""


class HesitatingFs(Fs):
    """Takes its time before an exchange."""

    def exchange(self, dirfd_a: int, name_a: bytes, dirfd_b: int, name_b: bytes) -> None:
        """Exchange, a moment later."""
        time.sleep(HESITATES)
        super().exchange(dirfd_a, name_a, dirfd_b, name_b)


class ArmedRuntime(DockerRuntime):
    """Disarms nothing."""

    async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        """Set any policy but ``no``."""
        if policy is not RestartPolicy.NO:
            await super().set_restart_policy(container_id, policy, max_retries)


def armed(settings: Settings) -> DockerRuntime:
    """The engine of the settings, by a client that disarms nothing."""
    return ArmedRuntime(settings.docker_host, settings.engine_timeout)


if __name__ == "__main__":
    serve(load_settings(None, os.environ), Seams(fs=HesitatingFs(), runtime=armed))
