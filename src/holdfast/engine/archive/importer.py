"""Takes in an archive from outside, which is hostile until proven otherwise.

The whole archive is read and checked once, with nothing written, before it becomes a snapshot; what cannot be a tree,
what exceeds a limit, and what two programs could read differently is refused. Then the file is moved into the store as
it came, and staged like any other snapshot: through the tree writer, which trusts it no more than this does.

Invariants: whatever fails leaves nothing in the store and takes the upload away; nothing the archive says becomes a
path; content counts as our own only with our MAC over exactly this content.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.domain import times
from holdfast.domain.errors import Damaged
from holdfast.domain.operation import Progress
from holdfast.domain.snapshot import Consistency, Content, SnapshotManifest, SnapshotReason
from holdfast.domain.told import Told, told
from holdfast.engine.archive.census import Census
from holdfast.engine.archive.format import Embedded, decode_embedded
from holdfast.engine.archive.layout import Layout, Pending
from holdfast.engine.archive.names import NameRegister
from holdfast.engine.archive.problems import FETCH_AGAIN, bounded_warnings, refused, too_large
from holdfast.engine.archive.reader import ArchiveReader, Member
from holdfast.engine.archive.source import PIECE_BYTES, Compression, TarStream, open_source
from holdfast.engine.entries import EntryKind
from holdfast.engine.entry_checks import check_entry
from holdfast.engine.fs import Fs
from holdfast.engine.job import Job
from holdfast.engine.limits import Limits, Tally
from holdfast.engine.walk import Names

_PRIVILEGED_MODE: Final = 0o6000
_PRIVILEGED_XATTRS: Final = (b"security.", b"trusted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What an import is to become.

    Attributes:
        upload: absolute path of the uploaded file, in a directory of Holdfast's own; taken over, whatever happens.
        allow_links: take symlinks and hardlinks of an archive that is not our own.
    """

    upload: Path
    workload_id: str
    workload_name: str
    snapshot_id: str
    allow_links: bool
    actor: str


@dataclass(slots=True)
class Findings:
    """What the pass over an archive's entries found, as it goes on."""

    tally: Tally
    register: NameRegister = field(default_factory=NameRegister)
    volumes: dict[int, Census] = field(default_factory=dict)
    links: Names = field(default_factory=Names)
    privileged: Names = field(default_factory=Names)

    def take(self, member: Member) -> None:
        """Check and count one entry and its data, as the tree writer will."""
        entry, index = member.entry, member.index
        check_entry(entry)
        self.tally.entry(entry)
        if entry.kind is EntryKind.HARDLINK:
            self.register.require_file(index, entry.link_target, entry.path)
        self.register.add(index, entry.path, entry.kind)
        limit = self.tally.limits.entries
        if len(self.register) > limit:
            raise too_large(
                "archive_too_many_entries", f"The archive exceeds the limit of {limit} entries.", limit=limit
            )
        for piece in member.data:
            self.tally.data(len(piece), entry.path)
        self.volumes.setdefault(index, Census()).add(entry)
        name = b"%d/%s" % (index, entry.path)
        if entry.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK):
            self.links.add(name)
        if entry.mode & _PRIVILEGED_MODE or any(key.startswith(_PRIVILEGED_XATTRS) for key, _ in entry.xattrs):
            self.privileged.add(name)


class Importer:
    """Imports into a store's directory."""

    def __init__(self, fs: Fs, layout: Layout, key: bytes, limits: Limits) -> None:
        self._fs, self._layout, self._key, self._limits = fs, layout, key, limits

    def run(self, request: ImportRequest, job: Job) -> SnapshotManifest:
        """Check the upload and make it a snapshot of the workload.

        Raises:
            Refused, InvalidInput, TooLarge, Damaged: ``archive_…``, something in it is not acceptable.
            Cancelled, NoSpace, OSError: nothing is left behind.
        """
        dirfd = self._fs.open_root(str(request.upload.parent))
        name = os.fsencode(request.upload.name)
        try:
            fd = self._open(dirfd, name)
            try:
                return self._import(request, dirfd, name, fd, job)
            finally:
                self._fs.close(fd)
        finally:
            # After success it has been moved away. What is no file was not received by us.
            try:
                with suppress(FileNotFoundError, IsADirectoryError):
                    self._fs.unlinkat(dirfd, name)
            finally:
                self._fs.close(dirfd)

    def _open(self, dirfd: int, name: bytes) -> int:
        fd = self._fs.openat(dirfd, name, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(self._fs.fstat(fd).st_mode):
            self._fs.close(fd)
            raise refused("archive_not_recognised", "The upload is not a file.")
        return fd

    def _import(self, request: ImportRequest, dirfd: int, name: bytes, fd: int, job: Job) -> SnapshotManifest:
        size = self._fs.fstat(fd).st_size
        tally = Tally(self._limits)

        def pulse(consumed: int, produced: int) -> None:
            tally.expansion(consumed, produced)
            job.check()
            job.progress(Progress(done_bytes=consumed, total_bytes=size))

        compression, source = open_source(self._fs, fd)
        reader = ArchiveReader(TarStream(source, pulse), tally)
        findings = Findings(tally)
        for member in reader.members():
            findings.take(member)
        embedded, content = self._judge(reader)
        manifest = _describe(request, embedded, content, reader, findings, size)
        job.check()
        with self._layout.new(request.workload_id, request.snapshot_id) as pending:
            self._move(pending, dirfd, name, fd, compression)
            pending.commit(manifest)
        return manifest

    def _judge(self, reader: ArchiveReader) -> tuple[Embedded, Content]:
        """Whose archive it is, and what proves it whole from now on."""
        if reader.manifest is None or reader.manifest_at is None or reader.end is None:
            raise refused(
                "archive_manifest_missing",
                "The archive has no manifest.json at its root.",
                next_step="Nothing was changed. Add one that lists index, target, scope and source of each volume; "
                "see the reference of the archive format.",
            )
        embedded = decode_embedded(reader.manifest, self._key)
        if embedded.own is None:
            return embedded, reader.end
        if not reader.manifest_is_last or embedded.own.content != reader.manifest_at:
            raise Damaged(
                "archive_content_mismatch",
                "The archive carries a manifest of this installation, but not the content that belongs to it.",
                next_step=FETCH_AGAIN,
            )
        return embedded, reader.manifest_at

    def _move(self, pending: Pending, dirfd: int, name: bytes, fd: int, compression: Compression) -> None:
        """Put the upload into the store: by rename, or by copy where it lies on another filesystem."""
        self._fs.fchmod(fd, 0o600)
        self._fs.fsync(fd)
        try:
            pending.adopt(dirfd, name, compression)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            self._fs.fsync(dirfd)
            return
        with pending.create() as write:
            offset = 0
            while piece := self._fs.pread(fd, PIECE_BYTES, offset):
                write(piece)
                offset += len(piece)
        pending.place(compression)


def _describe(
    request: ImportRequest,
    embedded: Embedded,
    content: Content,
    reader: ArchiveReader,
    findings: Findings,
    stored_bytes: int,
) -> SnapshotManifest:
    own = embedded.own
    _check_volumes([volume.index for volume in embedded.volumes], findings.volumes)
    for index, census in findings.volumes.items():
        census.add_directories(findings.register.implied[index])
    trusted = own is not None and own.own
    warnings = [*(own.warnings if own else ()), *_warnings(request, reader, findings, trusted=trusted)]
    origin = f"imported from snapshot {own.id} of {own.workload_name}, taken {own.created_at}" if own else "imported"
    return SnapshotManifest(
        id=request.snapshot_id,
        workload_id=request.workload_id,
        workload_name=request.workload_name,
        created_at=times.now(),
        reason=SnapshotReason.IMPORTED,
        consistency=own.consistency if own else Consistency.LIVE,
        volumes=tuple(findings.volumes[volume.index].describe(volume) for volume in embedded.volumes),
        content=content,
        image=own.image if own else "",
        image_id=own.image_id if own else "",
        image_digest=own.image_digest if own else None,
        config_hash=own.config_hash if own else "",
        stopped_cleanly=own.stopped_cleanly if own else None,
        unclean_stops=own.unclean_stops if own else (),
        stored_bytes=stored_bytes,
        own=trusted,
        allow_links=request.allow_links,
        note=origin,
        actor=request.actor,
        warnings=bounded_warnings(warnings),
    )


def _check_volumes(listed: Sequence[int], found: dict[int, Census]) -> None:
    unlisted = sorted(set(found) - set(listed))
    if unlisted:
        raise refused(
            "archive_volume_unknown",
            f"The archive has a volume {unlisted[0]} that its manifest.json does not list.",
        )
    missing = sorted(set(listed) - set(found))
    if missing or not listed:
        raise refused(
            "archive_volume_missing",
            f"The archive's manifest.json lists a volume {missing[0]} that the archive does not have."
            if missing
            else "The archive has no volumes.",
        )


def _warnings(request: ImportRequest, reader: ArchiveReader, findings: Findings, *, trusted: bool) -> Iterator[Told]:
    """What will not be restored, by name."""
    if left := reader.skipped.count:
        yield told(
            "import_devices",
            "{count} × devices and FIFOs, which are never restored: {names}",
            count=left,
            names=reader.skipped.told,
        )
    if left := reader.acls.count:
        yield told(
            "import_access_lists",
            "{count} × access lists in a text form that is not restored: {names}",
            count=left,
            names=reader.acls.told,
        )
    if not trusted and (left := findings.privileged.count):
        yield told(
            "import_privileged",
            "{count} × setuid, setgid or privileged attributes, which are not restored: {names}",
            count=left,
            names=findings.privileged.told,
        )
    if not trusted and not request.allow_links and (left := findings.links.count):
        yield told(
            "import_links",
            "{count} × links, which are not restored; import with links allowed to take them: {names}",
            count=left,
            names=findings.links.told,
        )
