"""The engine behind ``FakeRuntime``: what containers, images and restarts of the engine do, without an engine.

Synchronous and in memory. ``save`` keeps its whole state in one file, so that a process that was killed and started
again meets the engine that it left. The rules of ``restart_engine`` are those of the real engine; an integration test
compares the two.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from holdfast.domain.errors import Conflict, Failed
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.metrics import Totals
from holdfast.domain.workload import Port, RestartPolicy
from holdfast.runtime.docker_client import port_in_use
from holdfast.runtime.docker_volumes import volume_in_use, volume_missing
from holdfast.runtime.port import (
    Bind,
    Container,
    ContainerEvent,
    ContainerLog,
    ContainerSpec,
    ContainerState,
    ContainerUsage,
    Exit,
    ImageHealth,
    ListedContainer,
    Mount,
)
from holdfast.testing.fake_records import (
    KILLED,
    LOST,
    Behaviour,
    FakeContainer,
    FakeImage,
    FakeVolume,
    Outage,
    State,
    engine_error,
    stamp,
    unknown_container,
    unknown_image,
)

_LEAST_MEMORY: Final = 1 << 20

_ANONYMOUS = re.compile("[0-9a-f]{64}")


class FakeEngine:
    """The state and its rules.

    Args:
        state_file: where ``save`` writes; what is there already is loaded.
        clock: seconds since 1970.
        root_dir: where it keeps its volumes, in ``volumes``.
    """

    def __init__(
        self, *, state_file: Path | None = None, clock: Callable[[], float] = time.time, root_dir: str
    ) -> None:
        self._file = state_file
        self._volumes = Path(root_dir) / "volumes"
        self._clock = clock
        self._listeners: list[Callable[[ContainerEvent], None]] = []
        self.on_start: dict[str, Callable[[Container], None]] = {}
        """Image id → what runs in this process when a container of it starts. Not saved."""
        self.state = State()
        self._saved = b""
        if state_file is not None and state_file.exists():
            self._saved = state_file.read_bytes()
            self.state = msgspec.json.decode(self._saved, type=State)

    def save(self) -> None:
        """Write the whole state, in one step that a kill can't tear; nothing, if it is as it was saved last."""
        if self._file is None:
            return
        state = msgspec.json.encode(self.state)
        if state == self._saved:
            return
        fresh = self._file.with_name(f"{self._file.name}.new")
        fresh.write_bytes(state)
        os.replace(fresh, self._file)
        self._saved = state

    def listen(self, listener: Callable[[ContainerEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every event. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def make_image(
        self, reference: str, behaviour: Behaviour, *, user: str, digest: str | None, version: str
    ) -> FakeImage:
        """An image named by its reference; the same reference, behaviour and ``version`` give the same id."""
        facts = msgspec.json.encode((reference, behaviour, user, version))
        name = f"sha256:{hashlib.sha256(facts).hexdigest()}"
        return FakeImage(
            id=name,
            tags=[parse_image_ref(reference).with_tag],
            digests=[digest] if digest else [],
            user=user,
            behaviour=behaviour,
        )

    def put_image(self, image: FakeImage) -> FakeImage:
        """Add an image to the host; its names move to it from whatever carried them."""
        for other in self.state.images.values():
            other.tags = [tag for tag in other.tags if tag not in image.tags]
        known = self.state.images.get(image.id)
        if known is not None:
            image.tags = sorted({*known.tags, *image.tags})
            image.digests = sorted({*known.digests, *image.digests})
        self.state.images[image.id] = image
        return image

    def find_image(self, reference: str) -> FakeImage | None:
        """By id, tag or digest."""
        if reference in self.state.images:
            return self.state.images[reference]
        if reference.startswith("sha256:"):
            return None
        wanted = parse_image_ref(reference).with_tag
        for image in self.state.images.values():
            if wanted in image.tags or wanted in image.digests:
                return image
        return None

    def untag(self, reference: str) -> None:
        """Take a tag or digest away; the image goes with its last one, unless a container uses it.

        With the last tag of a repository go the digests of that repository.
        """
        image = self.find_image(reference)
        wanted = parse_image_ref(reference).with_tag
        if image is None or wanted not in (*image.tags, *image.digests):
            return
        tags = [tag for tag in image.tags if tag != wanted]
        repository = wanted.partition("@")[0] if wanted in image.digests else wanted.rpartition(":")[0]
        if wanted in image.digests:
            digests = [digest for digest in image.digests if digest != wanted]
        elif any(tag.rpartition(":")[0] == repository for tag in tags):
            digests = image.digests
        else:
            digests = [digest for digest in image.digests if digest.partition("@")[0] != repository]
        used = any(container.spec.image == image.id for container in self.state.containers.values())
        if used and not (tags or digests):
            raise Conflict(
                "image_in_use",
                f"A container uses the image {reference}; it keeps its last name.",
                next_step="Remove the container first.",
            )
        image.tags, image.digests = tags, digests
        if not (tags or digests):
            del self.state.images[image.id]

    def create(self, spec: ContainerSpec) -> FakeContainer:
        """As the engine does it: the image must exist, the name be free, every bind source be there."""
        image = self.find_image(spec.image)
        if image is None:
            raise unknown_image(spec.image)
        if any(spec.name == other.spec.name for other in self.state.containers.values()):
            raise engine_error(f'the container name "/{spec.name}" is already in use')
        for mount in spec.volumes:
            if mount.name not in self.state.volumes:
                raise volume_missing(mount.name)
        self._check_binds(spec)
        for network in (spec.network, *spec.more_networks):
            if network is not None and network not in self.state.networks:
                raise engine_error(f"network {network} not found")
        self.state.serial += 1
        name = hashlib.sha256(f"{self.state.serial} {spec.name} {self._clock()}".encode()).hexdigest()
        container = FakeContainer(
            id=name,
            serial=self.state.serial,
            spec=spec,
            state=ContainerState.CREATED,
            restart=spec.restart,
            created=self._clock(),
        )
        self.state.containers[container.id] = container
        self.tell(container, "create")
        return container

    def find(self, container_id: str) -> FakeContainer:
        """By id or name."""
        container = self.state.containers.get(container_id)
        if container is None:
            container = next((c for c in self.state.containers.values() if c.spec.name == container_id), None)
        if container is None:
            raise unknown_container(container_id)
        return container

    def start(self, container: FakeContainer) -> None:
        """Start it by hand: counts of restarts begin again."""
        if container.state is ContainerState.PAUSED:
            raise engine_error("cannot start a paused container, try unpause instead")
        if container.alive:
            return
        self._check_binds(container.spec)
        self._take_ports(container)
        container.restart_count = 0
        container.stopped_by_hand = False
        self._run(container)

    def _run(self, container: FakeContainer) -> None:
        behaviour = self.behaviour(container)
        container.state = ContainerState.RUNNING
        container.started = self._clock()
        container.exit_code = None
        container.looks = 0
        container.cpu, container.memory, container.received, container.sent = 1, _LEAST_MEMORY, 0, 0
        for line in behaviour.logs:
            stderr = line.startswith("stderr:")
            self.print(container, line.removeprefix("stderr:"), stream="stderr" if stderr else "stdout")
        self.tell(container, "start")
        if not self._requirements_met(container, behaviour) or not self._write_files(container, behaviour):
            self._end(container, 1)
            return
        if callback := self.on_start.get(self.image_of(container).id):
            callback(self.public(container))
        if behaviour.exit_code is not None and behaviour.looks_before_exit == 0:
            self._end(container, behaviour.exit_code)

    def _end(self, container: FakeContainer, code: int) -> None:
        """It ended by itself; its restart policy decides what comes next."""
        self.exited(container, code)
        if self._restarts(container, code):
            container.state = ContainerState.RESTARTING

    def exited(self, container: FakeContainer, code: int) -> None:
        container.state = ContainerState.EXITED
        container.exit_code = code
        container.finished = self._clock()
        container.running.clear()
        self.tell(container, "die")

    @staticmethod
    def _restarts(container: FakeContainer, code: int) -> bool:
        match container.restart:
            case RestartPolicy.ALWAYS:
                return True
            case RestartPolicy.UNLESS_STOPPED:
                return not container.stopped_by_hand
            case RestartPolicy.ON_FAILURE:
                return code != 0 and (container.max_retries == 0 or container.restart_count < container.max_retries)
            case RestartPolicy.NO:
                return False

    def look(self, container: FakeContainer) -> Container:
        """What an inspection finds; time passes for crash loops with each look."""
        behaviour = self.behaviour(container)
        if container.state is ContainerState.RESTARTING and container.looks > 0:
            container.restart_count += 1
            self._run(container)
        elif (
            container.state is ContainerState.RUNNING
            and behaviour.exit_code is not None
            and container.looks >= behaviour.looks_before_exit
        ):
            self._end(container, behaviour.exit_code)
            container.looks = 0
        if behaviour.exit_code is not None or container.state is ContainerState.RESTARTING:
            container.looks += 1  # of others nobody needs to know
        return self.public(container)

    def stop(self, container: FakeContainer, grace: float) -> Exit:
        """TERM, then KILL where it outlasts ``grace`` seconds. Fine if it is stopped."""
        container.stopped_by_hand = True
        outlasted = False
        if container.state is ContainerState.RESTARTING:
            container.state = ContainerState.EXITED
        elif container.alive:
            outlasted = self._terminate(container, grace)
            self.tell(container, "stop")
        return Exit(code=container.exit_code or 0, outlasted=outlasted, out_of_memory=container.oom_killed)

    def _terminate(self, container: FakeContainer, grace: float) -> bool:
        """Returns whether it outlasted its grace."""
        behaviour = self.behaviour(container)
        outlasted = behaviour.ignores_term or behaviour.stops_after > grace
        container.oom_killed = behaviour.out_of_memory_at_term and not outlasted
        killed = outlasted or container.oom_killed
        self.exited(container, KILLED if killed else behaviour.term_exit_code)
        return outlasted

    def rename(self, container: FakeContainer, name: str) -> None:
        if any(other.spec.name == name for other in self.state.containers.values() if other is not container):
            raise engine_error(f'the container name "/{name}" is already in use')
        container.spec = replace(container.spec, name=name)
        self.tell(container, "rename")

    def remove(self, container: FakeContainer, *, force: bool) -> None:
        if container.alive or container.state is ContainerState.RESTARTING:
            if not force:
                raise engine_error(f"you cannot remove a running container {container.id}")
            if container.alive:
                self.exited(container, KILLED)
        del self.state.containers[container.id]
        self.tell(container, "destroy")

    def remove_anonymous(self, spec: ContainerSpec) -> None:
        """Remove the volumes without a name of their own that a container had which is gone."""
        used = {mount.name for c in self.state.containers.values() for mount in c.spec.volumes}
        for mount in spec.volumes:
            if _ANONYMOUS.fullmatch(mount.name) and mount.name not in used:
                self.remove_volume(mount.name)

    def restart_engine(self, outage: Outage) -> None:
        """The engine went away and comes back: nothing runs on; restart policies decide what runs again.

        What an engine finds alive after a crash, it stops as a person would have: ``unless-stopped`` then stays down.
        """
        for container in list(self.state.containers.values()):
            if container.alive and outage is Outage.POWER:
                self.exited(container, LOST)
            elif container.alive:
                container.stopped_by_hand |= outage is Outage.CRASH
                self._terminate(container, container.spec.stop_grace)
            elif container.state is ContainerState.RESTARTING:
                container.state = ContainerState.EXITED
        for container in list(self.state.containers.values()):
            if not all(os.path.exists(bind.source) for bind in self._binds(container.spec)):
                continue  # the engine tries, and its runtime refuses
            if container.started and self._restarts(container, container.exit_code or 0):
                container.restart_count = 0
                self._run(container)
        self.save()

    def behaviour(self, container: FakeContainer) -> Behaviour:
        return self.image_of(container).behaviour

    def image_of(self, container: FakeContainer) -> FakeImage:
        """The image that it was made of."""
        image = self.find_image(container.spec.image)
        if image is None:
            raise unknown_image(container.spec.image)
        return image

    def mountpoint(self, name: str) -> str:
        """The directory of a volume that containers get."""
        return str(self._volumes / name / "_data")

    def make_volume(self, name: str, volume: FakeVolume) -> None:
        """Make a volume and, with the driver ``local``, its directory, with root for an owner; unless it is there."""
        if name in self.state.volumes:
            return
        self.state.volumes[name] = volume
        data = Path(self.mountpoint(name))
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(data, 0, 0)

    def remove_volume(self, name: str) -> None:
        """Remove a volume with all that is in its directory, unless a container mounts it."""
        if any(name == mount.name for c in self.state.containers.values() for mount in c.spec.volumes):
            raise volume_in_use(name)
        if self.state.volumes.pop(name, None) is not None:
            shutil.rmtree(self._volumes / name, ignore_errors=True)

    def _binds(self, spec: ContainerSpec) -> list[Bind]:
        """The directories that a container gets, volumes of the engine's among them."""
        named = [Bind(source=self.mountpoint(v.name), target=v.target, read_only=v.read_only) for v in spec.volumes]
        return [*spec.binds, *named]

    def _check_binds(self, spec: ContainerSpec) -> None:
        for bind in self._binds(spec):
            if not os.path.exists(bind.source):
                raise Failed(
                    "bind_source_missing",
                    f"The engine refused a bind: bind source path does not exist: {bind.source}",
                    next_step="Put the directory back, or mount the disk that holds it.",
                    details={"path": bind.source},
                )

    def _take_ports(self, container: FakeContainer) -> None:
        others = [c for c in self.state.containers.values() if c.alive and c is not container]
        taken = {(port, p.protocol) for c in others for port, p in zip(c.host_ports, c.spec.ports, strict=False)}
        container.host_ports = []
        for port in container.spec.ports:
            chosen = port.host_port
            if not chosen:
                chosen = next(n for n in range(49153, 65535) if (n, port.protocol) not in taken)
            if (chosen, port.protocol) in taken:
                raise port_in_use(f"{port.host_ip}:{chosen}")
            taken.add((chosen, port.protocol))
            container.host_ports.append(chosen)

    def host_path(self, container: FakeContainer, path: str) -> tuple[Path, bool] | None:
        """Where a path in the container is on the host, and whether it may be written; ``None`` outside its binds."""
        for bind in sorted(self._binds(container.spec), key=lambda b: len(b.target), reverse=True):
            target = bind.target.rstrip("/")
            if path.startswith(f"{target}/"):
                return Path(bind.source) / path[len(target) + 1 :], not bind.read_only
        return None

    def _requirements_met(self, container: FakeContainer, behaviour: Behaviour) -> bool:
        for path, text in behaviour.requires.items():
            place = self.host_path(container, path)
            if place is None or not place[0].is_file() or (text is not None and place[0].read_text() != text):
                self.print(container, f"{path} is not as it must be", stream="stderr")
                return False
        return True

    def _write_files(self, container: FakeContainer, behaviour: Behaviour) -> bool:
        for path, text in behaviour.writes.items():
            place = self.host_path(container, path)
            if place is None or not place[1]:
                self.print(container, f"can't create {path}: Read-only file system", stream="stderr")
                return False
            place[0].parent.mkdir(parents=True, exist_ok=True)
            place[0].write_text(text)
        return True

    def print(self, container: FakeContainer, text: str, *, stream: str = "stdout") -> None:
        container.logs.append(ContainerLog(at=stamp(self._clock()), stream=stream, text=text))
        self.tell(container, "log")

    def tell(self, container: FakeContainer, action: str) -> None:
        """Emit an event; ``log`` is of the fake's own, for those who follow logs."""
        event = ContainerEvent(
            action=action, container_id=container.id, labels=dict(container.spec.labels), at=stamp(self._clock())
        )
        for listener in list(self._listeners):
            listener(event)

    def usage(self, container: FakeContainer) -> ContainerUsage:
        """What it uses."""
        return ContainerUsage(
            container_id=container.id,
            labels=dict(container.spec.labels),
            totals=Totals(
                at=self._clock(),
                cpu=container.cpu,
                memory=container.memory,
                received=container.received,
                sent=container.sent,
            ),
        )

    def public(self, container: FakeContainer) -> Container:
        """As the port shows it."""
        spec, runs = container.spec, container.state in (ContainerState.RUNNING, ContainerState.PAUSED)
        return Container(
            id=container.id,
            name=spec.name,
            state=container.state,
            image_id=self.image_of(container).id,
            labels=dict(spec.labels),
            mounts=(
                *(Mount(type="bind", source=b.source, target=b.target, read_only=b.read_only) for b in spec.binds),
                *(
                    Mount(type="volume", source=self.mountpoint(v.name), target=v.target, read_only=v.read_only)
                    for v in spec.volumes
                ),
                *(Mount(type="tmpfs", source="", target=t.target, read_only=False) for t in spec.tmpfs),
            ),
            restart=container.restart,
            max_retries=container.max_retries,
            created_at=stamp(container.created),
            started_at=stamp(container.started),
            finished_at=stamp(container.finished),
            exit_code=container.exit_code,
            oom_killed=container.oom_killed,
            restart_count=container.restart_count,
            health=self._health(container),
            pid=container.serial + 1_000_000_000 if container.alive else 0,
            ip=self.behaviour(container).ip if runs else "",
            ports=self._ports(container),
        )

    def listed(self, container: FakeContainer) -> ListedContainer:
        """As a list shows it; no time passes for it."""
        runs = container.state is ContainerState.RUNNING
        health = self._health(container) if runs else ImageHealth.NONE
        return ListedContainer(id=container.id, state=container.state, health=health)

    def _health(self, container: FakeContainer) -> ImageHealth:
        behaviour = self.behaviour(container)
        if behaviour.health is ImageHealth.NONE:
            return ImageHealth.NONE
        if not container.alive or not container.started:
            return ImageHealth.UNHEALTHY if container.started else ImageHealth.STARTING
        waiting = self._clock() - container.started < behaviour.healthy_after
        return ImageHealth.STARTING if waiting else behaviour.health

    @staticmethod
    def _ports(container: FakeContainer) -> tuple[Port, ...]:
        if not container.alive:
            return ()
        return tuple(
            Port(container_port=p.container_port, host_port=chosen, host_ip=p.host_ip, protocol=p.protocol)
            for p, chosen in zip(container.spec.ports, container.host_ports, strict=True)
        )
