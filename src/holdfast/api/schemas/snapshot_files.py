"""What is in a snapshot, on the wire."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import BaseModel, Field

from holdfast.domain.errors import InvalidInput
from holdfast.engine.entries import Entry, EntryKind, display_path, encode_path
from holdfast.engine.repository.browse import Folder


class FileView(BaseModel):
    """One name in a folder."""

    name: Annotated[str, Field(description="For people: what is no readable text in it is written as escapes.")]
    path: Annotated[str, Field(description="By which it is asked for: base64url of the raw path in the volume.")]
    kind: EntryKind
    size: Annotated[int, Field(description="Bytes of a file, holes included.")]
    mode: Annotated[int, Field(description="Permission bits, as a number.")]
    uid: int
    gid: int
    mtime_ns: Annotated[int, Field(description="Nanoseconds since 1970.")]
    link_target: Annotated[str | None, Field(description="Where a link leads, for people; null for what is none.")]

    @classmethod
    def of(cls, entry: Entry) -> FileView:
        """The view of ``entry``."""
        link = entry.kind in (EntryKind.SYMLINK, EntryKind.HARDLINK)
        return cls(
            name=display_path(entry.path.rpartition(b"/")[2]),
            path=encode_path(entry.path),
            kind=entry.kind,
            size=entry.size,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            mtime_ns=entry.mtime_ns,
            link_target=display_path(entry.link_target) if link else None,
        )


class FolderView(BaseModel):
    """A page of a folder, by name."""

    items: list[FileView]
    next_after: Annotated[str | None, Field(description="For `after`, to see the next page; null on the last.")]

    @classmethod
    def of(cls, folder: Folder) -> FolderView:
        """The view of ``folder``."""
        last = encode_path(folder.entries[-1].path.rpartition(b"/")[2]) if folder.more else None
        return cls(items=[FileView.of(entry) for entry in folder.entries], next_after=last)


class CompareRequest(BaseModel, extra="forbid"):
    against: Annotated[
        str | None,
        Field(description="Another snapshot of the workload; null for the data that is live now.", max_length=64),
    ] = None


def decode_path(text: str, *, encoded: bool) -> bytes:
    """The raw path that a request names: encoded as answers give it, or plain text.

    Raises:
        InvalidInput: ``path_malformed``.
    """
    try:
        raw = (
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True) if encoded else text.encode()
        )
    except (ValueError, UnicodeError) as error:
        raise _malformed() from error
    path = raw.strip(b"/")
    if b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/") if path):
        raise _malformed()
    return path


def _malformed() -> InvalidInput:
    return InvalidInput(
        "path_malformed",
        "That is no path in a volume.",
        next_step="Name it from the volume's root, without '.', '..' and empty parts, or as a listing gave it.",
    )
