"""A second reader of repositories, written from docs/reference/repository-format.md and nothing else.

It stands for the program that somebody writes on a day on which Holdfast can't help. It imports nothing of Holdfast,
checks everything that the page says can be checked, and stops at the first thing that is not as it should be.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE, DIRECTORY, SYMLINK, HARDLINK = range(4)
HEADER_BYTES, FOOTER_BYTES = 48, 44


class Unreadable(Exception):
    """Something is not as the page says."""


class Entry(NamedTuple):
    """One entry of a tree, as the page numbers its elements."""

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    mtime: int
    inode: int
    ctime: int
    size: int
    link: bytes
    content: bytes
    listed: bool
    attributes: Sequence[Sequence[bytes]]
    regions: Sequence[Sequence[int]] | None


class Reader:
    """A repository in a directory."""

    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory, self._key = directory, key
        about = self._authentic((directory / "repository.json").read_bytes(), "description")
        _require(about["key_check"] == self._derived("check")[:16].hex(), "the key is another")
        self._sealed = about["encrypted"]
        self._places: dict[bytes, tuple[str, int, int]] = {}
        self._frame: dict[bytes, bytes] = {}
        for pack in sorted((directory / "packs").iterdir()):
            if not pack.name.startswith("."):
                self._list(pack)

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in (self._directory / "manifests").iterdir() if path.name[0] != ".")

    def manifest(self, snapshot: str) -> dict[str, Any]:
        data = (self._directory / "manifests" / snapshot).read_bytes()
        if self._sealed:
            data = self._open(data[:32], 0, b"holdfast manifest", data[32:])
        manifest = self._authentic(data, "manifest")
        _require(manifest["snapshot"]["id"] == snapshot, "the manifest is of another snapshot")
        return manifest

    def entries(self, snapshot: str, volume: int) -> Iterator[Entry]:
        tree = self.manifest(snapshot)["trees"][volume]
        _require(tree["index"] == volume, "the trees are not in order")
        before = None
        for index in tree["chunks"]:
            for first, chunk, count, *_ in msgspec.msgpack.decode(self.chunk(bytes.fromhex(index))):
                entries = [Entry(*found[:14]) for found in msgspec.msgpack.decode(self.chunk(chunk))]
                _require(len(entries) == count and entries[0].path == first, "the index names another tree chunk")
                for entry in entries:
                    order = entry.path.replace(b"/", b"\0")
                    _require(before is None or before < order, "the entries are not in order")
                    before = order
                    yield entry

    def data(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """The data of a file: where it belongs, and what it is."""
        ids = _ids(entry.content)
        if entry.listed:
            ids = _ids(b"".join(self.chunk(chunk) for chunk in ids))
        whole = b"".join(self.chunk(chunk) for chunk in ids)
        regions = [(0, entry.size)] if entry.regions is None else entry.regions
        _require(len(whole) == sum(length for _, length in regions), "the file has another size")
        position = 0
        for offset, length in regions:
            yield offset, whole[position : position + length]
            position += length

    def chunk(self, chunk: bytes) -> bytes:
        if chunk not in self._frame:
            _require(chunk in self._places, "a chunk is missing")
            self._frame = self._read(*self._places[chunk])
        _require(chunk in self._frame, "a frame does not hold what the trailer says")
        return self._frame[chunk]

    def _read(self, name: str, offset: int, length: int) -> dict[bytes, bytes]:
        """The chunks of one frame."""
        with (self._directory / "packs" / name).open("rb") as pack:
            salt = pack.read(HEADER_BYTES)[16:]
            pack.seek(offset)
            stored = pack.read(length)
        _require(struct.unpack_from("<I", stored)[0] == length - 4, "a frame has another length")
        payload = self._open(salt, offset, b"holdfast pack frame", stored[4:])
        chunks, position = _chunks(payload, 0)
        total = sum(size for _, size in chunks)
        _require(zstandard.frame_content_size(payload[position:]) == total, "a frame has another size")
        plain = zstandard.ZstdDecompressor().decompress(payload[position:], allow_extra_data=False)
        key, found, start = self._derived("chunk id"), {}, 0
        for chunk, size in chunks:
            found[chunk] = plain[start : start + size]
            _require(blake3(found[chunk], key=key).digest() == chunk, "a chunk is damaged")
            start += size
        return found

    def _list(self, path: Path) -> None:
        pack = path.read_bytes()
        _require(len(pack) >= HEADER_BYTES + FOOTER_BYTES, "a pack is cut off")
        magic, version, flags, zeros, salt = struct.unpack_from("<8sBB6s32s", pack)
        _require(magic == b"HOLDPACK" and version == 1 and zeros == bytes(6), "a pack does not begin as one")
        _require(flags == self._sealed, "a pack is sealed and should not be, or the other way round")
        length, name, end = struct.unpack("<I32s8s", pack[-FOOTER_BYTES:])
        offset = len(pack) - FOOTER_BYTES - length
        _require(end == b"HOLDEND1" and offset >= HEADER_BYTES, "a pack does not end as one")
        stored = pack[offset:-FOOTER_BYTES]
        _require(blake3(pack[:HEADER_BYTES] + stored, key=self._derived("pack name")).digest() == name, "a trailer")
        _require(name.hex() == path.name, "a pack has the name of another")
        payload = self._open(salt, offset, b"holdfast pack trailer", stored)
        position, at = HEADER_BYTES, 4
        for _ in range(struct.unpack_from("<I", payload)[0]):
            length, digest = struct.unpack_from("<I32s", payload, at)
            _require(blake3(pack[position : position + length]).digest() == digest, "a frame is damaged")
            chunks, at = _chunks(payload, at + 36)
            for chunk, _ in chunks:
                self._places[chunk] = path.name, position, length
            position += length
        _require(position == offset and at == len(payload), "a trailer does not fit its pack")

    def _derived(self, purpose: str) -> bytes:
        return blake3(self._key, derive_key_context=f"holdfast repository 1 {purpose}").digest()

    def _open(self, salt: bytes, number: int, kind: bytes, stored: bytes) -> bytes:
        if not self._sealed:
            return stored
        nonce = number.to_bytes(12, "big")
        cipher = AESGCM(blake3(salt, key=self._derived("seal")).digest())
        return cipher.decrypt(nonce, stored, kind + b"\0" + nonce)

    def _authentic(self, data: bytes, purpose: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(data)
        _require(document["format"] == 1, "the format is newer")
        rest = data.replace(b'"mac":"%s",' % document["mac"].encode(), b"", 1)
        _require(blake3(rest, key=self._derived(purpose)).hexdigest() == document["mac"], "a MAC is wrong")
        return document


def _chunks(payload: bytes, at: int) -> tuple[list[tuple[bytes, int]], int]:
    (count,) = struct.unpack_from("<I", payload, at)
    end = at + 4 + 36 * count
    return list(struct.iter_unpack("<32sI", payload[at + 4 : end])), end


def _ids(content: bytes) -> list[bytes]:
    return [content[at : at + 32] for at in range(0, len(content), 32)]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Unreadable(what)
