"""``condemned/<id>.json``: packs that a prune is going to delete, for those who store chunks until it has.

A courtesy, and no more: nothing is deleted because it stands here, and nothing is lost if it does not. Captures that
begin after a prune has made its plan store again what only these packs hold, so that the packs can go for certain. What
can't be understood here is as good as not there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Final

import msgspec

from holdfast.domain.errors import Damaged, NotFound
from holdfast.domain.ids import new_id
from holdfast.engine.repository.blobs import BlobStore

_FOLDER: Final = "condemned"
_MAX_BYTES: Final = 64 << 20


class _Condemned(msgspec.Struct, frozen=True, kw_only=True):
    format: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    packs: list[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]]


def read_condemned(blobs: BlobStore) -> set[str]:
    """The names of all condemned packs."""
    found: set[str] = set()
    for name in _names(blobs):
        try:
            found.update(msgspec.json.decode(blobs.get(name, limit=_MAX_BYTES), type=_Condemned).packs)
        except (NotFound, Damaged, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    return found


def write_condemned(blobs: BlobStore, packs: Collection[str]) -> None:
    """Condemn exactly these packs, in place of those that were before."""
    before = _names(blobs)
    if packs:
        document = msgspec.json.encode(_Condemned(packs=sorted(packs)))
        blobs.put(f"{_FOLDER}/{new_id()}.json", [document])
    blobs.delete(before)


def _names(blobs: BlobStore) -> Sequence[str]:
    return [info.name for info in blobs.list_blobs(_FOLDER)]
