"""Restores: the words of the journal and of the outcome (``docs/explanation/restore.md`` tells the story).

The journal's last durable *direction* record rules recovery, never a guess; ``holdfast.domain.recovery`` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.domain.workload import DesiredState, RestartPolicy


class RestoreStep(StrEnum):
    """The steps of a restore in their order; the names that people see as the operation's steps."""

    REQUESTED = "requested"
    LOCKED = "locked"
    PREFLIGHT = "preflight"
    STAGING = "staging"
    WARMING = "warming"
    QUIESCING = "quiescing"
    SAFEGUARDING = "safeguarding"
    CATCHING_UP = "catching_up"
    """Only where chosen paths are restored."""
    COMPARING = "comparing"
    """Only where a volume is a mount point."""
    COMMITTING = "committing"
    SWAPPING = "swapping"
    REDEPLOYING = "redeploying"
    CONFIRMING = "confirming"
    REAPING = "reaping"


class RecordType(StrEnum):
    """The records of a restore's journal."""

    STAGING = "STAGING"
    STAGED = "STAGED"
    PREPARED = "PREPARED"
    MADE = "MADE"
    SAFE = "SAFE"
    COMMIT = "COMMIT"
    SWAPPED = "SWAPPED"
    TRIAL = "TRIAL"
    CONFIRMED = "CONFIRMED"
    BACKWARD = "BACKWARD"
    REVERTED = "REVERTED"
    ABORTED = "ABORTED"
    DONE = "DONE"


class OnUnhealthy(StrEnum):
    """What a restore does when the workload does not become healthy on the restored data."""

    REVERT = "revert"
    KEEP = "keep"


class RestoreResult(StrEnum):
    """How a restore ended, as the operation's ``outcome.result``."""

    RESTORED = "restored"
    RESTORED_STOPPED = "restored_stopped"
    """The data is restored; the workload is stopped, as it was before."""
    RESTORED_UNHEALTHY = "restored_unhealthy"
    """The data is restored; the workload is not healthy on it, and ``keep`` was asked for."""
    RESTORED_DEPLOY_FAILED = "restored_deploy_failed"
    """The data is restored; starting the workload failed."""
    REVERTED = "reverted"
    REVERTED_UNHEALTHY = "reverted_unhealthy"
    NEEDS_DECISION = "needs_decision"
    """Both trees are kept, the workload is stopped, and a person decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A directory's identity that outlives renames, remounts and reboots: its file handle (``name_to_handle_at``).

    Never the path or ``st_dev`` (which changes on remount), never the inode number alone (ext4 reuses it at once).
    """

    handle_type: int
    handle: str
    """Hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRef:
    """A trusted root (volumes base or allowed root) and a path below it; how the engine names every directory.

    Attributes:
        root: absolute, resolved path of the root, from the operator's settings.
        relative: components below it, joined by ``/``; no ``.``, no ``..``, never empty.
    """

    root: str
    relative: str

    @property
    def path(self) -> str:
        """The absolute path, for the engine's mounts and for people."""
        return f"{self.root.rstrip('/')}/{self.relative}"

    @property
    def name(self) -> str:
        return self.relative.rsplit("/", 1)[-1]

    @property
    def parent_relative(self) -> str:
        """The parent below the root; empty if the parent is the root itself."""
        return self.relative.rsplit("/", 1)[0] if "/" in self.relative else ""


class LiveBefore(StrEnum):
    """What a restore found at a live path when it began."""

    AS_SEEN = "as_seen"
    """The directory that was last seen there, or one that was never seen."""
    REPLACED = "replaced"
    """Another directory than the one last seen; a person accepted to have it replaced by the restored one."""
    MISSING = "missing"
    """Nothing; a person asked to have the directory made."""


class SwapWay(StrEnum):
    """How the live tree of a volume and the staged one change places; chosen by what its filesystem can do."""

    EXCHANGE = "exchange"
    """One exchange of two directories: at any time the live path is one whole tree or the other."""
    RENAMES = "renames"
    """Three renames of whole directories, where the filesystem can't exchange two names."""
    CHILDREN = "children"
    """The volume is a mount point, which no rename moves: what lies in it is exchanged name by name."""
    CHILDREN_BY_RENAMES = "children_by_renames"
    """The same on a filesystem that can't exchange two names."""

    @property
    def inside(self) -> bool:
        """Whether the wrapper lies in the volume itself, where its containers can get at it."""
        return self in (SwapWay.CHILDREN, SwapWay.CHILDREN_BY_RENAMES)

    @property
    def at_once(self) -> bool:
        """Whether two names change places in one step."""
        return self in (SwapWay.EXCHANGE, SwapWay.CHILDREN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One name in a volume that is swapped name by name, and what stands at it on either side; ``None``: nothing."""

    name: bytes
    old: Identity | None
    new: Identity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RootLook:
    """What the root directory of a tree has of its own: permission bits, owner, time, extended attributes, ACLs."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """What a volume that is swapped name by name consists of; looked at with everything stopped.

    Attributes:
        old_root, new_root: what its root directory looks like on either side.
        settled: the side that was reached durably, after which containers may have changed what is there; ``None``
            while names are moved.
    """

    names: tuple[Child, ...]
    old_root: RootLook
    new_root: RootLook
    settled: TreeSide | None = None


class TreeSide(StrEnum):
    """What stands at a path: the tree that was live before, the staged one, or something else."""

    OLD = "old"
    NEW = "new"
    MIXED = "mixed"
    """A swap of several steps was cut off: each of its names is on one side or the other."""
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFacts:
    """What the journal knows of one volume; written once, with the record that names it first.

    Attributes:
        index: the volume's index in the snapshot.
        live: where the live directory is.
        wrapper: name of the wrapper directory (``.holdfast-<id>-<index>``): in live's parent, or in live itself
            where that is a mount point.
        live_identity: of the live tree before the swap; of a missing one ``None`` until MADE, then the empty
            directory's that was made in its place.
        parent_identity: of the directory that holds live and wrapper; ``None`` until STAGED if it was missing as well.
        staged_identity: of the staged tree (``<wrapper>/staged``); ``None`` until STAGED.
        before: what was found at the live path.
        missing_parents: how many directories above a missing one were missing as well.
        way: how the two trees change places.
        wrapper_identity: of the wrapper, where it lies in the volume; ``None`` until STAGED.
        children: what there is to swap, where that is done name by name; ``None`` until COMMIT.
    """

    index: int
    target: str
    live: RootRef
    wrapper: str
    live_identity: Identity | None
    parent_identity: Identity | None
    staged_identity: Identity | None = None
    before: LiveBefore = LiveBefore.AS_SEEN
    missing_parents: int = 0
    way: SwapWay = SwapWay.EXCHANGE
    wrapper_identity: Identity | None = None
    children: Children | None = None

    def identity_of(self, side: TreeSide) -> Identity | None:
        """What the live path is when this side (OLD or NEW) is live. A mount point stays the directory that it is."""
        return self.staged_identity if side is TreeSide.NEW and not self.way.inside else self.live_identity

    @property
    def wrapper_parent(self) -> str:
        """The path of the directory that holds the wrapper: beside the live one, or the live one itself."""
        return self.live.path if self.way.inside else self.live.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """What the journal knows of one container that was quiesced.

    Attributes:
        restart_policy: the configured one, put back when the restore has ended.
        running: whether it ran before and must run again if the restore is aborted.
        paused: whether it ran but was paused by somebody, and must be so again.
    """

    id: str
    name: str
    workload_id: str
    restart_policy: RestartPolicy
    running: bool
    paused: bool = False
    max_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """One image, and how it was called where it was deployed.

    Attributes:
        id: the engine's; empty if it was never recorded.
        reference: the name that a configuration gave it.
        digest: the registry's (``name@sha256:…``), where one gave it; by that it can be pulled again.
    """

    id: str
    reference: str = ""
    digest: str | None = None

    @property
    def words(self) -> str:
        """For people: the name, and enough of the id to tell two images of one name apart."""
        short = self.id.removeprefix("sha256:")[:12] or "not recorded"
        return f"{self.reference} ({short})" if self.reference else short


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeploy:
    """What a locked workload runs again once the data is in place.

    Attributes:
        first: whether it never ran before: what runs then is a version that somebody asked for, and repeats none.
        as_deployed: the deployment whose configuration it gets; empty: its configuration of now.
        adopt: whether that becomes its configuration, once the restore is confirmed.
        unwell: it shares a volume, and was not healthy before either: that it isn't afterwards takes nothing back.
    """

    workload_id: str
    image: ImageFacts
    first: bool = False
    as_deployed: str = ""
    adopt: bool = False
    unwell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonedFrom:
    """The workload whose data a clone brings to another one, as the snapshot's manifest names it: for people."""

    workload_id: str
    workload_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFacts:
    """Written once, with STAGING, and never rewritten.

    Attributes:
        lock_ids: all workloads whose lifecycle locks the restore holds, in id order: its own, and those that share one
            of its volumes.
        image_before: what the workload ran on the data from before; ``None`` if nothing ran and nothing was deployed.
        deployment_before: the deployment whose version that was; empty if it is not known.
        returns_from: the failed deployment that this is the way back of; empty if it is none.
        with_image: whether code and data return together.
        redeploys: which of them run again afterwards; those that did not run before are not among them.
        cloned_from: whose data it is, if it is another workload's.
        paths: what is restored, for people, if it is not whole volumes; recovery decides nothing by it.
    """

    restore_id: str
    operation_id: str
    workload_id: str
    workload_name: str
    lock_ids: tuple[str, ...]
    snapshot_id: str
    volumes: tuple[VolumeFacts, ...]
    desired: DesiredState
    on_unhealthy: OnUnhealthy
    actor: str
    image_before: ImageFacts | None = None
    deployment_before: str = ""
    returns_from: str = ""
    with_image: bool = False
    redeploys: tuple[Redeploy, ...] = ()
    cloned_from: ClonedFrom | None = None
    paths: tuple[str, ...] = ()

    @property
    def redeploy(self) -> Redeploy | None:
        """How the restored workload runs afterwards; ``None`` if it stays stopped."""
        return next((redeploy for redeploy in self.redeploys if redeploy.workload_id == self.workload_id), None)

    @property
    def image(self) -> ImageFacts | None:
        """What the restored workload runs afterwards; ``None`` if it stays stopped."""
        return None if self.redeploy is None else self.redeploy.image
