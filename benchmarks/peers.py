"""Holdfast's engine and its peers, each behind the same few verbs.

What each of them does differs, and the table says so: ``restic`` can't do without encryption; ``borg`` and ``restic``
leave their restored files to the kernel, so a ``sync`` of that filesystem follows, as it does for ``tar`` and ``cp``;
Holdfast verifies and flushes by itself. The peers restore over changed data in place; Holdfast stages beside it and
exchanges. Their versions and commands stand in the table.
"""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import measuring
from benchmarks.measuring import Usage
from benchmarks.worker import ask
from holdfast.domain import times
from holdfast.domain.ids import new_id
from holdfast.domain.restore import RootRef, TreeSide, VolumeFacts
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import Scope
from holdfast.engine import swap
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Limits
from holdfast.engine.live import LiveRoots
from holdfast.engine.requests import CaptureRequest, ReapRequest, StageRequest, WorkerSettings
from holdfast.engine.snapshot_store import CaptureSource
from holdfast.engine.stores import StoreSettings
from holdfast.engine.wrapper_place import staged_path

Disturb = Callable[[Path], object]


class Tool(ABC):
    """One tool with one repository, which belongs to one live tree.

    Attributes:
        name: as the tables' columns say it.
        whole: each capture stores everything again.
    """

    name: str
    whole: bool = False

    @abstractmethod
    def version(self) -> str:
        """Which one it is, and how it is called."""

    @abstractmethod
    def begin(self, place: Path, live: Path) -> None:
        """Make an empty repository below ``place`` (a directory that does not exist yet), for the tree ``live``."""

    @abstractmethod
    def capture(self) -> Usage:
        """Take a snapshot."""

    @abstractmethod
    def restore(self) -> tuple[Path, Usage]:
        """The first snapshot into a new directory, whole and on the disk. Returns where, too; it stays there."""

    @abstractmethod
    def restore_over(self, disturb: Disturb) -> Usage:
        """The first snapshot in the place of a tree that differs from it a little, by the tool's own way.

        Args:
            disturb: makes the difference, for a tool that doesn't use the live tree, which has it already.
        """

    @abstractmethod
    def tidy(self) -> None:
        """Remove what was restored."""

    @abstractmethod
    def stored(self) -> int:
        """Bytes that the repository takes on the disk, without caches."""

    @abstractmethod
    def end(self) -> None:
        """Remove everything."""


@dataclass(frozen=True, slots=True)
class Commands:
    """A peer's commands, in the shell's words. They find REPO, LIVE, TARGET and SNAPSHOT in their environment.

    ``before_over`` is what has to be done before the same restore works where there is a tree already.
    """

    begin: str
    capture: str
    restore: str
    before_over: str = ":"


class CommandLine(Tool):
    """A peer that is a program.

    Args:
        version: a command that prints which one it is.
        environment: names → values; ``{place}`` in a value is the tool's directory.
    """

    def __init__(
        self,
        name: str,
        commands: Commands,
        *,
        version: str,
        environment: dict[str, str] | None = None,
        whole: bool = False,
    ) -> None:
        self.name = name
        self.whole = whole
        self.commands: Final = commands
        self._version = version
        self._environment = environment or {}
        self._place = self._live = Path()
        self._taken = 0

    def version(self) -> str:
        return f"{measuring.said(['sh', '-c', self._version])}; `{self.commands.capture}`; `{self.commands.restore}`"

    def begin(self, place: Path, live: Path) -> None:
        self._place, self._live, self._taken = place, live, 0
        self._target.parent.mkdir(parents=True)
        self._run(self.commands.begin)

    def capture(self) -> Usage:
        self._taken += 1
        return self._run(self.commands.capture, SNAPSHOT=f"s{self._taken}")

    def restore(self) -> tuple[Path, Usage]:
        self._target.mkdir()
        return self._target, self._run(self.commands.restore, SNAPSHOT="s1")

    def restore_over(self, disturb: Disturb) -> Usage:
        disturb(self._target)
        measuring.settle()
        return self._run(f"{self.commands.before_over} && {self.commands.restore}", SNAPSHOT="s1")

    def tidy(self) -> None:
        shutil.rmtree(self._target)

    def stored(self) -> int:
        return measuring.disk_bytes(self._place / "repository")

    def end(self) -> None:
        shutil.rmtree(self._place)

    @property
    def _target(self) -> Path:
        return self._place / "restored"

    def _run(self, script: str, **variables: str) -> Usage:
        own = {name: value.format(place=self._place) for name, value in self._environment.items()}
        paths = {"REPO": self._place / "repository", "LIVE": self._live, "TARGET": self._target}
        return measuring.run(script, {**own, **{name: str(path) for name, path in paths.items()}, **variables})


class Holdfast(Tool):
    """Our own engine through its worker: capture, staging (every byte verified, flushed once), exchange."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "Holdfast sealed" if sealed else "Holdfast"
        self._sealed = sealed
        self._place = Path()
        self._live: RootRef = RootRef(root="/", relative="none")
        self._workload_id = new_id()
        self._manifests: list[SnapshotManifest] = []
        self._staged: list[VolumeFacts] = []

    def version(self) -> str:
        sealed = "sealed with AES-256-GCM" if self._sealed else "not encrypted"
        return f"the engine in a worker process, {sealed}; staging verifies every byte and flushes the filesystem"

    def begin(self, place: Path, live: Path) -> None:
        place.mkdir(parents=True)
        self._place = place
        self._live = RootRef(root=str(live.parent), relative=live.name)
        self._manifests, self._staged = [], []

    def capture(self) -> Usage:
        volume = CapturedVolume(index=0, target="/data", scope=Scope.STAGE, source="data")
        draft = SnapshotManifest(
            id=new_id(),
            workload_id=self._workload_id,
            workload_name="bench",
            created_at=times.now(),
            reason=SnapshotReason.MANUAL,
            consistency=Consistency.STOPPED,
            volumes=(volume,),
        )
        source = CaptureSource(index=0, live=self._live)
        manifest, usage = ask(self._settings, CaptureRequest(draft=draft, sources=(source,)))
        self._manifests.append(manifest)
        return usage

    def restore(self) -> tuple[Path, Usage]:
        facts, usage = self._stage()
        return Path(staged_path(facts)), usage

    def restore_over(self, disturb: Disturb) -> Usage:
        del disturb  # the live tree itself is restored, and differs
        facts, usage = self._stage()
        fs = Fs()
        with LiveRoots(fs, [self._live.root]) as roots:
            began = time.monotonic()
            swap.exchange_all(fs, roots, [facts], TreeSide.NEW)
            seconds = time.monotonic() - began
            swap.exchange_all(fs, roots, [facts], TreeSide.OLD)
        return replace(usage, seconds=usage.seconds + seconds)

    def tidy(self) -> None:
        ask(self._settings, ReapRequest(volumes=tuple(self._staged)))
        self._staged = []

    def stored(self) -> int:
        return measuring.disk_bytes(self._place / "repository", without="cache")

    def end(self) -> None:
        shutil.rmtree(self._place)

    def _stage(self) -> tuple[VolumeFacts, Usage]:
        fs = Fs()
        with LiveRoots(fs, [self._live.root]) as roots:
            parent, _ = roots.open_parent(self._live)
            facts = VolumeFacts(
                index=0,
                target="/data",
                live=self._live,
                wrapper=f".holdfast-{new_id()}-0",
                live_identity=roots.identity(self._live),
                parent_identity=fs.identity(parent),
            )
            fs.close(parent)
        self._staged.append(facts)
        result, usage = ask(self._settings, StageRequest(snapshot_id=self._manifests[0].id, volumes=(facts,)))
        self._staged[-1] = replace(facts, staged_identity=result.identities[0])
        return self._staged[-1], usage

    @property
    def _settings(self) -> WorkerSettings:
        keys = self._place / "keys"
        return WorkerSettings(
            roots=(self._live.root,),
            stores=StoreSettings(
                installation=self._workload_id,
                archives_dir=str(self._place / "archives"),
                archive_key_file=str(keys / "archive.key"),
                repository_dir=str(self._place / "repository"),
                repository_key_file=str(keys / "repository.key"),
                encrypt=self._sealed,
                limits=Limits(),
                reserve_bytes=0,
            ),
        )


def restic() -> Tool:
    """Encryption can't be turned off; compression is its default, ``auto``. It gives up where a symlink is already."""
    return CommandLine(
        "restic",
        Commands(
            begin='restic init --quiet --repo "$REPO"',
            capture='cd "$LIVE" && restic backup --quiet --repo "$REPO" --tag "$SNAPSHOT" .',
            restore='restic restore latest --quiet --repo "$REPO" --tag "$SNAPSHOT" --target "$TARGET" && '
            'sync -f "$TARGET"',
            before_over='find "$TARGET" -type l -delete',
        ),
        version="restic version",
        environment={"RESTIC_PASSWORD": "measured", "RESTIC_CACHE_DIR": "{place}/cache"},
    )


def borg() -> Tool:
    """Not encrypted; compression is its default."""
    return CommandLine(
        "borg",
        Commands(
            begin='borg init --encryption none "$REPO"',
            capture='cd "$LIVE" && borg create --compression lz4 "$REPO::$SNAPSHOT" .',
            restore='cd "$TARGET" && borg extract --numeric-ids "$REPO::$SNAPSHOT" && sync -f .',
        ),
        version="borg --version",
        environment={"BORG_BASE_DIR": "{place}/cache", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"},
    )


def tar() -> Tool:
    """A whole archive each time."""
    kept = "--acls --xattrs --numeric-owner"
    return CommandLine(
        "tar + zstd",
        Commands(
            begin='mkdir "$REPO"',
            capture=f'tar -C "$LIVE" {kept} -I "zstd -T0" -cf "$REPO/$SNAPSHOT.tar.zst" . && sync -f "$REPO"',
            restore=f'tar -C "$TARGET" {kept} -I zstd -xf "$REPO/$SNAPSHOT.tar.zst" && sync -f "$TARGET"',
        ),
        version="tar --version | head -n 1; zstd --version | sed s/[^v]*//",
        whole=True,
    )


def cp() -> Tool:
    """A whole copy each time."""
    return CommandLine(
        "cp -a",
        Commands(
            begin='mkdir "$REPO"',
            capture='cp -a "$LIVE" "$REPO/$SNAPSHOT" && sync -f "$REPO"',
            restore='cp -a "$REPO/$SNAPSHOT/." "$TARGET" && sync -f "$TARGET"',
        ),
        version="cp --version | head -n 1",
        whole=True,
    )


def tools() -> tuple[Tool, ...]:
    """All that is compared, ours first."""
    return (Holdfast(sealed=False), Holdfast(sealed=True), restic(), borg(), tar(), cp())
