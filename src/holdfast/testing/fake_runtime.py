"""A container runtime without containers, for tests and demonstrations of everything above the port.

It passes the same suite as the Docker adapter (``tests/contract/runtime.py``). What a real engine does only now and
then can be asked for: calls that hang, fail, fail after they took effect, or are slow. Nothing here waits but what was
asked to; a grace period, for one, is over at once.

With ``state_file`` the engine outlives the process: a fake that is made again on the same file finds everything as the
last call left it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.domain.errors import HoldfastError, Unavailable
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.registry import RegistryLogin, registry_of
from holdfast.domain.workload import RestartPolicy
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
from holdfast.runtime.pull_errors import login_failed, pull_failed
from holdfast.testing.fake_commands import ExecBehaviour, FakeCommands
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.fake_inspection import container_words, image_words
from holdfast.testing.fake_records import (
    Behaviour,
    FakeContainer,
    FakeVolume,
    Outage,
    engine_error,
    matches,
    stamp,
    unknown_image,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that the fake received: the port's method and the container, image or network it was about."""

    name: str
    subject: str


@dataclass(slots=True)
class _Failure:
    error: HoldfastError
    times: int | None
    after: bool


class FakeRuntime(ContainerRuntime):
    """The port, in memory.

    Args:
        state_file: where the engine's state is kept across processes; ``None``: nowhere.
        timeout: seconds after which a hanging call ends with ``engine_timeout``.
        newer_api: be an engine of a later API version than this program knows.
        clock: seconds since 1970.
        on_call: awaited at the beginning of every call; what it raises, the call raises.

    Attributes:
        calls: every call so far, in order.
        engine: the engine behind it, for tests that look or reach further.
    """

    def __init__(
        self,
        *,
        state_file: Path | None = None,
        timeout: float = 30.0,
        newer_api: bool = False,
        root_dir: str = "/var/lib/docker",
        clock: Callable[[], float] = time.time,
        on_call: Callable[[Call], Awaitable[None]] | None = None,
    ) -> None:
        self.engine = FakeEngine(state_file=state_file, clock=clock, root_dir=root_dir)
        self.calls: list[Call] = []
        self.closed = False
        self.guarded: dict[str, RegistryLogin] = {}
        """Registries that ask for a login, and which one they take."""
        self.endless_logs = False
        """Whether no reading of a log ever ends: the engine gives the lines that there are, and is silent then."""
        self._timeout = timeout
        self._newer_api = newer_api
        self._root_dir = root_dir
        self._on_call = on_call
        self._hanging: set[str] = set()
        self._failing: dict[str, _Failure] = {}
        self._slow = 0.0
        self._commands = FakeCommands(self.engine)
        self._watchers: list[asyncio.Queue[ContainerEvent | HoldfastError]] = []

    # What tests arrange

    def add_image(
        self,
        reference: str,
        behaviour: Behaviour | None = None,
        *,
        user: str = "",
        digest: str | None = None,
        version: str = "",
        on_start: Callable[[Container], None] | None = None,
    ) -> Image:
        """Put an image on the host.

        Args:
            digest: ``name@sha256:…`` of the registry; ``None`` for a locally built one.
            version: anything; another one makes another image of the same reference, which takes the tag over.
            on_start: called in this process whenever a container of it starts; not kept in the state file.
        """
        image = self.engine.make_image(reference, behaviour or Behaviour(), user=user, digest=digest, version=version)
        if on_start is not None:
            self.engine.on_start[image.id] = on_start
        public = self.engine.put_image(image).public()
        self.engine.save()
        return public

    def add_remote_image(
        self, reference: str, behaviour: Behaviour | None = None, *, user: str = "", version: str = ""
    ) -> str:
        """Put an image in the reference's registry, to be pulled. Returns its digest (``name@sha256:…``)."""
        image = self.engine.make_image(reference, behaviour or Behaviour(), user=user, digest=None, version=version)
        tag = image.tags[0]
        image.digests = [f"{tag.rpartition(':')[0]}@{image.id}"]
        self.engine.state.remote[tag] = image
        self.engine.save()
        return image.digests[0]

    def remove_image(self, reference: str) -> None:
        """Take an image off the host, whatever uses it."""
        image = self.engine.find_image(reference)
        if image is not None:
            del self.engine.state.images[image.id]
        self.engine.save()

    def hang(self, *calls: str) -> None:
        """The named calls don't answer from now on; all calls if none is named."""
        self._hanging.update(calls or ("*",))

    def fail(
        self, *calls: str, error: HoldfastError | None = None, times: int | None = None, after: bool = False
    ) -> None:
        """The named calls fail from now on; all calls if none is named.

        Args:
            error: what they raise; ``engine_unavailable`` if not given.
            times: how often; ``None``: until ``heal``.
            after: they take effect first, and only the answer is lost.
        """
        for call in calls or ("*",):
            self._failing[call] = _Failure(error or _unavailable(), times, after)

    def slow(self, seconds: float) -> None:
        """Every call takes this long from now on."""
        self._slow = seconds

    def heal(self) -> None:
        """Calls answer at once again."""
        self._hanging.clear()
        self._failing.clear()
        self._slow = 0.0

    def on_exec(self, command: Sequence[str], result: ExecResult | ExecBehaviour) -> None:
        """What ``command`` does in any container, in this process; others do what the image knows, or end with 127."""
        self._commands.told[" ".join(command)] = result if callable(result) else lambda _container, _command: result

    def print(self, container_id: str, text: str, *, stream: str = "stdout") -> None:
        """Let a container print a line."""
        self.engine.print(self.engine.find(container_id), text, stream=stream)
        self.engine.save()

    def use(self, container_id: str, *, cpu: int = 0, memory: int, received: int = 0, sent: int = 0) -> None:
        """Let a running container use this more (milliseconds, bytes), and so much memory."""
        container = self.engine.find(container_id)
        container.cpu += cpu
        container.memory = memory
        container.received += received
        container.sent += sent
        self.engine.save()

    def crash(self, container_id: str, code: int = 1) -> None:
        """Let a running container end by itself; it does not come back before the engine restarts."""
        self.engine.exited(self.engine.find(container_id), code)
        self.engine.save()

    def restart_engine(self, outage: Outage = Outage.CRASH) -> None:
        """What an engine that went away and came back makes of its containers; event streams break off."""
        self.engine.restart_engine(outage)
        for watcher in self._watchers:
            watcher.put_nowait(_unavailable())

    # The port

    async def info(self) -> EngineInfo:
        async with self._call("info"):
            if self._newer_api:
                return EngineInfo(version="99.0.0", api_version="1.52", root_dir=self._root_dir, os="Debian")
            return EngineInfo(version="20.10.24", api_version="1.41", root_dir=self._root_dir, os="Debian")

    async def image(self, reference: str) -> Image | None:
        async with self._call("image", reference):
            image = self.engine.find_image(reference)
            return image.public() if image else None

    async def images(self) -> Sequence[ListedImage]:
        async with self._call("images"):
            return [image.listed() for image in self.engine.state.images.values()]

    async def pull(
        self,
        reference: str,
        on_progress: Callable[[str, int, int | None], None] | None = None,
        *,
        login: RegistryLogin | None = None,
    ) -> Image:
        async with self._call("pull", reference):
            self._require_login(reference, login)
            remote = next(
                (i for i in self.engine.state.remote.values() if _names(i.tags[0], i.digests[0], reference)), None
            )
            if remote is None:
                raise pull_failed(reference, "manifest unknown")
            if on_progress is not None:
                on_progress("Downloading", 0, 2)
                on_progress("Downloading", 2, 2)
            return self.engine.put_image(replace(remote, tags=list(remote.tags))).public()

    async def tags(self, reference: str, *, login: RegistryLogin | None = None) -> Sequence[str]:
        async with self._call("tags", reference):
            self._require_login(reference, login)
            name = parse_image_ref(reference).name
            there = [
                tag for path, _, tag in (each.rpartition(":") for each in self.engine.state.remote) if path == name
            ]
            if not there:
                raise pull_failed(reference, "name unknown")
            return there

    def _require_login(self, reference: str, login: RegistryLogin | None) -> None:
        guarded = self.guarded.get(registry_of(reference))
        if guarded is not None and guarded != login:
            raise pull_failed(reference, "unauthorized: authentication required")

    async def login(self, login: RegistryLogin) -> None:
        async with self._call("login", login.host):
            if self.guarded.get(login.host, login) != login:
                raise login_failed(login.host, "unauthorized: incorrect username or password")

    async def tag(self, image_id: str, repository: str, tag: str) -> None:
        async with self._call("tag", image_id):
            image = self.engine.find_image(image_id)
            if image is None:
                raise unknown_image(image_id)
            self.engine.put_image(replace(image, tags=sorted({*image.tags, f"{repository}:{tag}"})))

    async def untag(self, reference: str) -> None:
        async with self._call("untag", reference):
            self.engine.untag(reference)

    async def create(self, spec: ContainerSpec) -> str:
        async with self._call("create", spec.name):
            return self.engine.create(spec).id

    async def start(self, container_id: str) -> None:
        async with self._call("start", container_id):
            self.engine.start(self.engine.find(container_id))

    async def stop(self, container_id: str, grace: float) -> Exit:
        async with self._call("stop", container_id):
            return self.engine.stop(self.engine.find(container_id), grace)

    async def pause(self, container_id: str) -> None:
        async with self._call("pause", container_id):
            container = self.engine.find(container_id)
            if container.state is ContainerState.PAUSED:
                return
            if container.state is not ContainerState.RUNNING:
                raise engine_error(f"Container {container_id} is not running")
            self._set_state(container, ContainerState.PAUSED, "pause")

    async def unpause(self, container_id: str) -> None:
        async with self._call("unpause", container_id):
            container = self.engine.find(container_id)
            if container.state is ContainerState.PAUSED:
                self._set_state(container, ContainerState.RUNNING, "unpause")

    def _set_state(self, container: FakeContainer, state: ContainerState, action: str) -> None:
        container.state = state
        self.engine.tell(container, action)

    async def rename(self, container_id: str, name: str) -> None:
        async with self._call("rename", container_id):
            self.engine.rename(self.engine.find(container_id), name)

    async def remove(self, container_id: str, *, force: bool = False, keep_volumes: bool = False) -> None:
        async with self._call("remove", container_id):
            known = self.engine.state.containers
            if container_id in known or any(c.spec.name == container_id for c in known.values()):
                gone = self.engine.find(container_id)
                self.engine.remove(gone, force=force)
                if not keep_volumes:
                    self.engine.remove_anonymous(gone.spec)

    async def set_restart_policy(self, container_id: str, policy: RestartPolicy, max_retries: int = 0) -> None:
        async with self._call("set_restart_policy", container_id):
            container = self.engine.find(container_id)
            container.restart = policy
            container.max_retries = max_retries if policy is RestartPolicy.ON_FAILURE else 0
            self.engine.tell(container, "update")

    async def inspect(self, container_id: str) -> Container:
        async with self._call("inspect", container_id):
            return self.engine.look(self.engine.find(container_id))

    async def inspection(self, container_id: str) -> Inspection:
        async with self._call("inspection", container_id):
            container = self.engine.find(container_id)
            image = self.engine.image_of(container)
            words = container_words(container, self.engine.public(container), image)
            return Inspection(container=words, image=image_words(image), changed=tuple(container.layer))

    async def containers(
        self, labels: Mapping[str, str] | None = None, *, without: Mapping[str, str] | None = None
    ) -> Sequence[Container]:
        async with self._call("containers"):
            newest_first = sorted(self.engine.state.containers.values(), key=lambda c: c.serial, reverse=True)
            wanted = [c for c in newest_first if matches(c.spec.labels, labels)]
            return [self.engine.look(c) for c in wanted if without is None or not matches(c.spec.labels, without)]

    async def listed(self, labels: Mapping[str, str]) -> Sequence[ListedContainer]:
        async with self._call("listed"):
            newest_first = sorted(self.engine.state.containers.values(), key=lambda c: c.serial, reverse=True)
            return [self.engine.listed(c) for c in newest_first if matches(c.spec.labels, labels)]

    async def usage(self, labels: Mapping[str, str]) -> Sequence[ContainerUsage]:
        async with self._call("usage"):
            known = self.engine.state.containers.values()
            return [self.engine.usage(c) for c in known if c.alive and matches(c.spec.labels, labels)]

    async def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: str | None = None
    ) -> AsyncGenerator[ContainerLog, None]:
        async with self._call("logs", container_id):
            container = self.engine.find(container_id)
        changed = asyncio.Event()
        end = self.engine.listen(lambda event: changed.set() if event.container_id == container.id else None)
        try:
            lines = [line for line in container.logs if since is None or line.at >= since]
            given = len(container.logs)
            life = container.started
            for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
                yield line
            if self.endless_logs:
                await asyncio.Event().wait()
            while follow:
                for line in container.logs[given:]:
                    given += 1
                    if container.started == life or line.at < stamp(container.started):
                        yield line
                if container.started != life:
                    return  # it ended, however soon it was started again
                if given == len(container.logs):
                    if not container.alive:
                        return
                    changed.clear()
                    await changed.wait()
        finally:
            end()

    async def exec(
        self, container_id: str, command: Sequence[str], timeout: float, *, on_made: OnMade | None = None
    ) -> ExecResult:
        async with self._call("exec", container_id):
            container = self.engine.find(container_id)
            if container.state is not ContainerState.RUNNING:
                raise engine_error(f"Container {container_id} is not running")
            exec_id = secrets.token_hex(32)
        if on_made is not None:
            await on_made(exec_id)
        async with self._call("exec_start", container_id):
            return await self._commands.run(container, exec_id, command, timeout)

    async def end_exec(self, container_id: str, exec_id: str) -> bool:
        async with self._call("end_exec", container_id):
            self._commands.end(container_id, exec_id)
            return True

    def events(self, on_open: Callable[[], object] | None = None) -> AsyncIterator[ContainerEvent]:
        queue: asyncio.Queue[ContainerEvent | HoldfastError] = asyncio.Queue()
        end = self.engine.listen(queue.put_nowait)
        self._watchers.append(queue)
        return self._events(queue, end, on_open)

    async def _events(
        self,
        queue: asyncio.Queue[ContainerEvent | HoldfastError],
        end: Callable[[], None],
        on_open: Callable[[], object] | None,
    ) -> AsyncIterator[ContainerEvent]:
        try:
            async with self._call("events"):
                if on_open is not None:
                    on_open()
            while True:
                event = await queue.get()
                if isinstance(event, HoldfastError):
                    raise event
                if event.action != "log":
                    yield event
        finally:
            end()
            self._watchers.remove(queue)

    async def ensure_network(self, name: str, labels: Mapping[str, str], *, internal: bool = False) -> None:
        async with self._call("ensure_network", name):
            if name not in self.engine.state.networks:
                self.engine.state.networks[name] = dict(labels)
                if internal:
                    self.engine.state.internal_networks.add(name)

    async def has_network(self, name: str) -> bool:
        async with self._call("has_network", name):
            return name in self.engine.state.networks

    async def remove_network(self, name: str) -> None:
        async with self._call("remove_network", name):
            if not any(c.alive and c.spec.network == name for c in self.engine.state.containers.values()):
                self.engine.state.networks.pop(name, None)
                self.engine.state.internal_networks.discard(name)

    async def volume(self, name: str) -> EngineVolume | None:
        async with self._call("volume", name):
            known = self.engine.state.volumes.get(name)
            if known is None:
                return None
            return EngineVolume(
                name=name,
                driver=known.driver,
                mountpoint=self.engine.mountpoint(name),
                labels=dict(known.labels),
                options=dict(known.options),
            )

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        async with self._call("create_volume", name):
            self.engine.make_volume(name, FakeVolume(labels=dict(labels)))

    async def remove_volume(self, name: str) -> None:
        async with self._call("remove_volume", name):
            self.engine.remove_volume(name)

    async def close(self) -> None:
        self.closed = True

    @asynccontextmanager
    async def _call(self, name: str, subject: str = "") -> AsyncIterator[None]:
        """One call: recorded, made to hang, fail or be slow as asked, and the state saved at its end."""
        call = Call(name=name, subject=subject)
        self.calls.append(call)
        if self._on_call is not None:
            await self._on_call(call)
        if self._slow:
            await asyncio.sleep(self._slow)
        if self._hanging & {name, "*"}:
            await asyncio.sleep(self._timeout)
            raise Unavailable(
                "engine_timeout",
                f"The container engine did not answer within {self._timeout:g} s ({name}).",
                next_step="See whether the engine is overloaded or stuck; its log says more.",
            )
        error, after = self._failure(name)
        if error is not None and not after:
            raise error
        yield
        self.engine.save()
        if error is not None:
            raise error

    def _failure(self, name: str) -> tuple[HoldfastError | None, bool]:
        key = name if name in self._failing else "*"
        failure = self._failing.get(key)
        if failure is None:
            return None, False
        if failure.times is not None:
            failure.times -= 1
            if failure.times <= 0:
                del self._failing[key]
        return failure.error, failure.after


def _names(tag: str, digest: str, reference: str) -> bool:
    return reference in (tag, digest) or f"{reference}:latest" == tag


def _unavailable() -> Unavailable:
    return Unavailable(
        "engine_unavailable",
        "The container engine does not answer.",
        next_step="Start the Docker Engine, or point docker_host at it.",
    )
