"""The container runtime port on a Docker Engine, from 20.10 (API 1.41) on."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from aiodocker import DockerError

from holdfast.domain.errors import Conflict, Failed, HoldfastError, NotFound, Unavailable
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.registry import RegistryLogin
from holdfast.domain.stopping import KILLED_CODE
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime import (
    docker_exec,
    docker_foreign,
    docker_login,
    docker_spec,
    docker_usage,
    docker_view,
    docker_volumes,
)
from holdfast.runtime.docker_client import DockerClient, engine_gone, refused, unknown_container, unknown_image
from holdfast.runtime.docker_networks import DockerNetworks
from holdfast.runtime.docker_pull import PullProgress
from holdfast.runtime.docker_streams import json_lines, log_lines
from holdfast.runtime.own_container import is_own
from holdfast.runtime.port import (
    Container,
    ContainerEvent,
    ContainerLog,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    ContainerUsage,
    EngineInfo,
    EngineVolume,
    ExecResult,
    Exit,
    Image,
    Inspection,
    ListedContainer,
    ListedImage,
    OnMade,
)
from holdfast.runtime.pull_errors import login_failed, pull_failed, registry_silent
from holdfast.runtime.registry_tags import list_tags

_AT_ONCE: Final = 8
"""Inspections in flight for one listing."""
REGISTRY_PATIENCE: Final = 60.0
"""Seconds until the engine has a first word of a registry; one that wakes an image up first takes its time."""
_PULL_SILENCE: Final = 300.0
"""Seconds without a word after which a pull counts as hanging; checking a large layer is silent for long."""
_POLL: Final = 0.05
_LEFT_BY_A_START: Final = re.compile(r"task [0-9a-f]+: already exists")
_CANNOT_UPDATE: Final = "cannot update container"
_NOT_FOUND, _CONFLICT, _ENGINE_FAILED = 404, 409, 500


class DockerRuntime(ContainerRuntime):
    """The port on the engine at ``host``.

    Args:
        host: ``unix:///path`` or ``tcp://address:port``.
        timeout: seconds that the engine may take to answer; what a call itself takes (a grace period) comes on top.
        registry_patience: seconds that a registry may take until the engine has a first word of it.
        log_bytes: so much of a container's log the engine keeps, of the containers that are made here, where it keeps
            logs in files; 0 for as much as it is itself configured to.
    """

    def __init__(
        self, host: str, timeout: float = 30.0, *, log_bytes: int = 0, registry_patience: float = REGISTRY_PATIENCE
    ) -> None:
        self._client = DockerClient(host, timeout)
        self._registry_patience = registry_patience
        self._log_bytes = log_bytes
        self._log_driver: str | None = None
        self._networks = DockerNetworks(self._client)
        self._inspections = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        await self._client.close()

    async def info(self) -> EngineInfo:
        answer = await self._ask("GET", "info")
        self._log_driver = str(answer.get("LoggingDriver") or "")
        return EngineInfo(
            version=answer.get("ServerVersion") or "",
            api_version=self._client.api_version,
            root_dir=answer.get("DockerRootDir") or "",
            os=answer.get("OperatingSystem") or "",
        )

    # Images

    async def image(self, reference: str) -> Image | None:
        try:
            return docker_view.image(await self._client.ask("GET", f"images/{docker_spec.image_path(reference)}/json"))
        except DockerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise refused(error) from error

    async def images(self) -> Sequence[ListedImage]:
        return [docker_view.listed_image(entry) for entry in await self._ask("GET", "images/json")]

    async def pull(
        self,
        reference: str,
        on_progress: Callable[[str, int, int | None], None] | None = None,
        *,
        login: RegistryLogin | None = None,
    ) -> Image:
        wanted = parse_image_ref(reference)
        params = {"fromImage": wanted.name, "tag": wanted.digest or wanted.effective_tag or ""}
        progress = PullProgress()
        waited = self._registry_patience
        try:
            pull = self._client.stream(
                "POST",
                "images/create",
                params=params,
                headers=docker_login.headers(login),
                silence=_PULL_SILENCE,
                opening=self._registry_patience,
            )
            async with pull as pieces, aclosing(json_lines(pieces)) as messages:
                waited = _PULL_SILENCE
                async for message in messages:
                    if "error" in message or "errorDetail" in message:
                        detail = message.get("errorDetail") or {}
                        raise pull_failed(reference, str(detail.get("message") or message.get("error")))
                    if progress.take(message) and on_progress is not None:
                        on_progress(progress.what, progress.done, progress.total)
        except DockerError as error:
            raise pull_failed(reference, error.message) from error
        except Unavailable as error:
            if error.code != "engine_timeout":
                raise
            await self.info()  # where this is answered, it is the registry that isn't heard of
            raise registry_silent(reference, waited) from error
        image = await self.image(reference)
        if image is None:
            raise pull_failed(reference, "the engine said that it had pulled it, but does not have it")
        return image

    async def tags(self, reference: str, *, login: RegistryLogin | None = None) -> Sequence[str]:
        engine = await self._ask("GET", "info")
        return await list_tags(reference, login, engine.get("RegistryConfig") or {})

    async def login(self, login: RegistryLogin) -> None:
        try:
            await self._client.ask("POST", "auth", body=docker_login.body(login))
        except DockerError as error:
            raise login_failed(login.host, error.message) from error

    async def tag(self, image_id: str, repository: str, tag: str) -> None:
        params = {"repo": repository, "tag": tag}
        await self._ask(
            "POST", f"images/{docker_spec.image_path(image_id)}/tag", params=params, missing=unknown_image(image_id)
        )

    async def untag(self, reference: str) -> None:
        try:
            await self._client.ask("DELETE", f"images/{docker_spec.image_path(reference)}")
        except DockerError as error:
            if error.status == _CONFLICT:
                raise Conflict(
                    "image_in_use",
                    f"A container uses the image {reference}; it keeps its last name.",
                    next_step="Remove the container first.",
                ) from error
            if error.status != _NOT_FOUND:
                raise refused(error) from error

    # The life of a container

    async def create(self, spec: ContainerSpec) -> str:
        await docker_volumes.require(self._client, [mount.name for mount in spec.volumes])
        await self._networks.require(spec.more_networks)
        body = docker_spec.create_body(spec)
        if self._log_bytes:
            if self._log_driver is None:
                await self.info()
            body["HostConfig"] |= docker_spec.log_config(self._log_driver or "", self._log_bytes)
        try:
            answer = await self._client.ask("POST", "containers/create", params={"name": spec.name}, body=body)
        except DockerError as error:
            raise refused(error, unknown_image(spec.image)) from error
        container_id = str(answer["Id"])
        try:
            for network in spec.more_networks:
                await self._networks.join(container_id, network, spec.aliases)
        except HoldfastError:
            await self.remove(container_id, force=True)
            raise
        return container_id

    async def start(self, container_id: str) -> None:
        try:
            await self._container("POST", container_id, "start")
        except Failed as error:
            # What a start leaves that the engine's own crash cut off stays until its next start (20.10, measured).
            if _LEFT_BY_A_START.search(error.message) is None:
                raise
            raise Unavailable(
                "engine_lost_track",
                f"The container engine can't start {container_id[:12]}: what a start left that its own crash cut off "
                "is in its way. Restart the engine; what waits for it then goes on by itself.",
                next_step="Restart the Docker Engine, for example with `systemctl restart docker`.",
                details={"container": container_id},
            ) from error

    async def stop(self, container_id: str, grace: float) -> Exit:
        seconds = math.ceil(grace)
        began = time.monotonic()
        await self._container("POST", container_id, "stop", params={"t": seconds}, extra_time=seconds)
        waited = time.monotonic() - began
        container = await self.inspect(container_id)
        if container.running:
            raise Failed(
                "container_not_stopped",
                f"The container {container.name} is still {container.state} after it was stopped.",
                next_step="Look at the engine's log; something else may have started it again.",
                details={"container": container_id},
            )
        code = container.exit_code or 0
        # The engine tells no kill of its own from another's: only that it waited so long before it killed.
        outlasted = code == KILLED_CODE and waited >= seconds
        return Exit(code=code, outlasted=outlasted, out_of_memory=container.oom_killed)

    async def pause(self, container_id: str) -> None:
        # What is frozen while the engine starts a command in it, such as the image's health check, can neither be
        # thawed nor looked at until that command's time is up. No look is answered while a command is being started.
        await self.inspect(container_id)
        # Freezing is a game of chances where processes come and go or the machine is busy: the engine thaws what it
        # could not freeze in time and leaves it to the caller to ask again (moby #48205, runc #4388).
        deadline = time.monotonic() + self._client.timeout
        while True:
            try:
                await self._container("POST", container_id, "pause")
            except Failed as error:
                if (await self.inspect(container_id)).state is ContainerState.PAUSED:
                    return
                if "unable to freeze" not in error.message or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_POLL)
            else:
                return

    async def unpause(self, container_id: str) -> None:
        try:
            await self._container("POST", container_id, "unpause")
        except Failed:
            if (await self.inspect(container_id)).state is ContainerState.PAUSED:
                raise

    async def rename(self, container_id: str, name: str) -> None:
        if (await self.inspect(container_id)).name != name:
            await self._container("POST", container_id, "rename", params={"name": name})

    async def remove(self, container_id: str, *, force: bool = False, keep_volumes: bool = False) -> None:
        try:
            await self._container("DELETE", container_id, params={"v": not keep_volumes, "force": force})
        except NotFound:
            return
        except Failed as error:
            if "already in progress" not in error.message:
                raise
            await self._until_gone(container_id)

    async def _until_gone(self, container_id: str) -> None:
        """Wait for the end of a removal that somebody else asked for."""
        deadline = time.monotonic() + self._client.timeout
        while time.monotonic() < deadline:
            try:
                await self.inspect(container_id)
            except NotFound:
                return
            await asyncio.sleep(_POLL)
        raise Failed(
            "engine_error",
            f"The container engine has been removing {container_id} for too long.",
            next_step="See the engine's log.",
        )

    async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        # Just after a crash the engine takes the container for running, fails to tell the process that is gone, in one
        # of several wordings, and records the old policy again; the new one holds until the engine's next start only.
        # A start under way may keep the engine from refusing for long: its time counts from the first refusal on.
        body = {"RestartPolicy": docker_spec.restart_policy(policy, max_retries)}
        deadline = math.inf
        while True:
            try:
                await self._container("POST", container_id, "update", body=body)
            except Failed as error:
                deadline = min(deadline, time.monotonic() + self._client.timeout)
                if not _lost_its_process(error) or time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_POLL)
            else:
                return

    # Looking

    async def inspect(self, container_id: str) -> Container:
        return docker_view.container(await self._container("GET", container_id, "json"))

    async def inspection(self, container_id: str) -> Inspection:
        return await docker_foreign.inspection(self._client, container_id, quote(container_id, safe=""))

    async def containers(
        self, labels: Mapping[str, str] | None = None, *, without: Mapping[str, str] | None = None
    ) -> Sequence[Container]:
        filters = json.dumps(docker_spec.label_filters(labels))
        answer = await self._ask("GET", "containers/json", params={"all": True, "filters": filters})
        wanted = [
            entry["Id"] for entry in answer if without is None or not without.items() <= (entry["Labels"] or {}).items()
        ]
        found = await asyncio.gather(*map(self._inspect_if_there, wanted))
        return [container for container in found if container is not None and not is_own(container.pid)]

    async def _inspect_if_there(self, container_id: str) -> Container | None:
        async with self._inspections:
            try:
                return await self.inspect(container_id)
            except NotFound:
                return None  # removed since it was listed

    async def listed(self, labels: Mapping[str, str]) -> Sequence[ListedContainer]:
        filters = json.dumps(docker_spec.label_filters(labels))
        answer = await self._ask("GET", "containers/json", params={"all": True, "filters": filters})
        return [docker_view.listed_container(entry) for entry in answer]

    async def usage(self, labels: Mapping[str, str]) -> Sequence[ContainerUsage]:
        return await docker_usage.running(self._client, labels)

    async def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: str | None = None
    ) -> AsyncGenerator[ContainerLog, None]:
        params: dict[str, str | int | bool] = {"stdout": True, "stderr": True, "timestamps": True, "follow": follow}
        params["tail"] = "all" if tail is None else str(tail)
        if since is not None:
            params["since"] = docker_view.unix_time(since)
        silence = None if follow else self._client.timeout
        path = f"containers/{quote(container_id, safe='')}/logs"
        try:
            log = self._client.stream("GET", path, params=params, silence=silence)
            async with log as pieces, aclosing(log_lines(pieces)) as lines:
                async for line in lines:
                    yield line
        except DockerError as error:
            raise refused(error, unknown_container(container_id)) from error

    async def exec(
        self, container_id: str, command: Sequence[str], timeout: float, *, on_made: OnMade | None = None
    ) -> ExecResult:
        return await docker_exec.run(self._client, quote(container_id, safe=""), command, timeout, on_made)

    async def end_exec(self, container_id: str, exec_id: str) -> bool:
        return await docker_exec.end(self._client, quote(container_id, safe=""), quote(exec_id, safe=""))

    def events(self, on_open: Callable[[], object] | None = None) -> AsyncIterator[ContainerEvent]:
        # Asked for since this very moment, so that nothing is missed between this call and the first wait.
        return self._events(docker_view.rfc3339(time.time_ns()), on_open)

    async def _events(self, since: str, on_open: Callable[[], object] | None) -> AsyncIterator[ContainerEvent]:
        params = {"filters": json.dumps({"type": ["container"]}), "since": docker_view.unix_time(since)}
        try:
            stream = self._client.stream("GET", "events", params=params)
            async with stream as pieces, aclosing(json_lines(pieces)) as messages:
                if on_open is not None:
                    on_open()
                async for message in messages:
                    if (event := docker_view.event(message)) is not None:
                        yield event
        except DockerError as error:
            raise refused(error) from error
        raise engine_gone(self._client.host, "it ended the stream of events")

    # Networks

    async def ensure_network(self, name: str, labels: Mapping[str, str], *, internal: bool = False) -> None:
        await self._networks.ensure(name, labels, internal=internal)

    async def remove_network(self, name: str) -> None:
        await self._networks.remove(name)

    async def has_network(self, name: str) -> bool:
        return await self._networks.has(name)

    # Volumes

    async def volume(self, name: str) -> EngineVolume | None:
        return await docker_volumes.find(self._client, name)

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        await docker_volumes.make(self._client, name, labels)

    async def remove_volume(self, name: str) -> None:
        await docker_volumes.remove(self._client, name)

    async def _container(
        self,
        method: str,
        container_id: str,
        action: str = "",
        *,
        params: Mapping[str, str | int | bool] | None = None,
        body: object = None,
        extra_time: float = 0.0,
    ) -> Any:
        path = f"containers/{quote(container_id, safe='')}{f'/{action}' if action else ''}"
        missing = unknown_container(container_id)
        return await self._ask(method, path, params=params, body=body, extra_time=extra_time, missing=missing)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | bool] | None = None,
        body: object = None,
        extra_time: float = 0.0,
        missing: NotFound | None = None,
    ) -> Any:
        try:
            return await self._client.ask(method, path, params=params, body=body, extra_time=extra_time)
        except DockerError as error:
            raise refused(error, missing) from error


def _lost_its_process(error: Failed) -> bool:
    """Whether an update was refused for want of a process, not because the engine won't have it at all."""
    return error.details.get("status") == _ENGINE_FAILED and _CANNOT_UPDATE in error.message.lower()
