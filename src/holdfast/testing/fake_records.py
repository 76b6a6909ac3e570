"""The records that the fake engine keeps, and how images behave. All of it can be written to a file and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from holdfast.domain.errors import Failed, NotFound
from holdfast.domain.workload import RestartPolicy
from holdfast.runtime.port import ContainerLog, ContainerSpec, ContainerState, Image, ImageHealth, ListedImage

KILLED: Final = 137
LOST: Final = 255
"""The exit code of a container whose end the engine did not see."""
NEVER: Final = "0001-01-01T00:00:00Z"
"""The engine's word for a time that has not come."""


class Outage(StrEnum):
    """How the engine went away before it came back."""

    CRASH = "crash"
    """It was killed; containers ran on until it came back and stopped them."""
    POWER = "power"
    """The host lost its power, and everything with it."""
    SHUTDOWN = "shutdown"
    """It was stopped in order, and stopped its containers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a command does that is run in a container. ``hangs``: it runs until it is killed."""

    code: int = 0
    output: str = ""
    hangs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How containers of an image behave; declarative, so that it outlives the process.

    Attributes:
        health: what the image's health check comes to say; ``NONE`` for an image without one.
        healthy_after: seconds for which it says ``starting`` first.
        exit_code: it ends by itself with this code; ``None``: it runs until it is stopped.
        looks_before_exit: how many looks (``inspect``, ``containers``) still find it running; with a restart policy
            this makes a crash loop that polls as running now and then.
        stops_after: seconds that it needs to end after TERM; with a grace below that it is killed. Nobody waits.
        ignores_term: it is still there when any grace is over, and is killed.
        term_exit_code: with what it answers TERM.
        out_of_memory_at_term: it needs more memory than there is when it is to end, and the kernel kills it.
        writes: files written at each start, as path in the container → text; only below its binds.
        requires: files that must be there with this text when it starts (``None``: with any), else it exits with 1.
        logs: lines that it prints at each start; those that begin with ``stderr:`` go there without it.
        ip: its address while it runs; the host's own, so that tests can put a real server there.
        commands: what can be run in it, by program and arguments joined with spaces.
    """

    health: ImageHealth = ImageHealth.NONE
    healthy_after: float = 0.0
    exit_code: int | None = None
    looks_before_exit: int = 0
    stops_after: float = 0.0
    ignores_term: bool = False
    term_exit_code: int = 0
    out_of_memory_at_term: bool = False
    writes: dict[str, str] = field(default_factory=dict)
    requires: dict[str, str | None] = field(default_factory=dict)
    logs: tuple[str, ...] = ()
    ip: str = "127.0.0.1"
    commands: dict[str, Command] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class FakeImage:
    id: str
    tags: list[str]
    digests: list[str]
    user: str
    behaviour: Behaviour
    architecture: str = ""

    def public(self) -> Image:
        return Image(
            id=self.id,
            tags=tuple(self.tags),
            digests=tuple(self.digests),
            user=self.user,
            size=1,
            has_healthcheck=self.behaviour.health is not ImageHealth.NONE,
            architecture=self.architecture,
        )

    def listed(self) -> ListedImage:
        return ListedImage(id=self.id, tags=tuple(self.tags), digests=tuple(self.digests), size=1)


@dataclass(slots=True, kw_only=True)
class FakeContainer:
    """One container with what the engine keeps of it. Times in seconds since 1970, 0 for never.

    Attributes:
        ran: the commands that were begun in it, in order.
        running: those that have not ended, by id; gone when it stops.
        cpu, memory, received, sent: what it used since it was started (milliseconds, bytes), and its memory (bytes).
        layer: the paths that it has written beside its mounts, without what.
    """

    id: str
    serial: int
    spec: ContainerSpec
    state: ContainerState
    restart: RestartPolicy
    created: float
    max_retries: int = 0
    started: float = 0.0
    finished: float = 0.0
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    looks: int = 0
    stopped_by_hand: bool = False
    host_ports: list[int] = field(default_factory=list)
    logs: list[ContainerLog] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)
    cpu: int = 0
    memory: int = 0
    received: int = 0
    sent: int = 0
    layer: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.state in (ContainerState.RUNNING, ContainerState.PAUSED)


@dataclass(slots=True, kw_only=True)
class FakeVolume:
    """A volume of the engine's, with what it was made with."""

    labels: dict[str, str] = field(default_factory=dict)
    driver: str = "local"
    options: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class State:
    images: dict[str, FakeImage] = field(default_factory=dict)
    remote: dict[str, FakeImage] = field(default_factory=dict)
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    networks: dict[str, dict[str, str]] = field(default_factory=dict)
    internal_networks: set[str] = field(default_factory=set)
    volumes: dict[str, FakeVolume] = field(default_factory=dict)
    serial: int = 0


def stamp(seconds: float) -> str:
    """A time as the engine writes it."""
    if not seconds:
        return NEVER
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def matches(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    """Whether ``labels`` carry all that is wanted."""
    return all(labels.get(key) == value for key, value in (wanted or {}).items())


def engine_error(words: str) -> Failed:
    """What the engine answers, in its own ``words``."""
    return Failed("engine_error", f"The container engine refused: {words}", next_step="See the engine's log.")


def unknown_container(container_id: str) -> NotFound:
    """For a container that is not there."""
    return NotFound("container_unknown", f"The engine knows no container {container_id}.")


def unknown_image(reference: str) -> NotFound:
    """For an image that is not there."""
    return NotFound(
        "image_unknown", f"The image {reference} is not on this host.", next_step="Pull it, or check its name."
    )
