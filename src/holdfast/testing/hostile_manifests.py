"""Archives whose ``manifest.json`` an import must refuse; a part of :mod:`holdfast.testing.hostile_archives`."""

from __future__ import annotations

import json

from holdfast.testing.raw_tar import (
    END,
    FILE,
    ROOT,
    archive,
    base256,
    directory,
    gzipped,
    header,
    manifest,
    member,
    sparse,
    sparse_map,
    symlink,
    volumes,
)

Kinds = dict[str, tuple[str, bytes]]
"""What is wrong → the code that it is refused with, and the archive."""


def hostile_manifests() -> Kinds:
    """All kinds: manifests that are no proper members, then ones whose content is wrong."""
    return {**_manifests(), **_json()}


def _manifests() -> Kinds:
    malformed = "archive_manifest_malformed"

    def without(*members: bytes) -> bytes:
        return gzipped(b"".join((ROOT, *members, END)))

    return {
        "no manifest": ("archive_manifest_missing", without(FILE)),
        "manifest in a volume only": ("archive_manifest_missing", without(member(b"0/manifest.json", b"[]"))),
        "two manifests": ("archive_manifest_twice", archive(manifest())),
        "manifest too large": (
            "archive_manifest_too_large",
            without(member(b"manifest.json", b" " * (1 << 20) + b"[]")),
        ),
        "manifest that claims to be enormous": (
            "archive_manifest_too_large",
            without(header(b"manifest.json", size=base256(1 << 50))),
        ),
        "manifest that is a symlink": (malformed, without(symlink(b"manifest.json", b"/etc/passwd"))),
        "manifest that is a directory": (malformed, without(directory(b"manifest.json/"))),
        "manifest that is sparse": (
            malformed,
            without(sparse(b"manifest.json", b"x" * 512, size=1 << 20, sparse_map=sparse_map([(0, 512)]))),
        ),
        "listed volume without entries": ("archive_volume_missing", archive(FILE, listed=volumes(2))),
        "volume that is not listed": ("archive_volume_unknown", archive(directory(b"1/"), member(b"1/file"))),
        "newer format": ("archive_format_newer", archive(listed={"format": 2, "volumes": volumes(1)})),
    }


def _json() -> Kinds:
    def changed(**fields: object) -> list[dict[str, object]]:
        return [{**volumes(1)[0], **fields}]

    two = volumes(2)
    documents: dict[str, object] = {
        "no JSON": b"{",
        "empty": b"",
        "bytes that are no text": b"\xff\xfe[]",
        "byte order mark": b"\xef\xbb\xbf[]",
        "deep": b"[" * 100_000,
        "deep objects": b'{"volumes":' * 50_000,
        "number of a hundred thousand digits": b'[{"index":' + b"9" * 100_000 + b"}]",
        "NaN": b'[{"index": NaN}]',
        "key twice": b'[{"index":0,"index":0,"target":"/a","scope":"stage","source":"a"}]',
        "field in two spellings": changed(Index=0),
        "a number": b"7",
        "a text": b'"volumes"',
        "no volumes": b"[]",
        "volumes that are no list": {"volumes": {"index": 0}},
        "volume that is no object": b"[0]",
        "volume without a target": [{"index": 0, "scope": "stage", "source": "a"}],
        "negative index": changed(index=-1),
        "index that is a truth value": changed(index=False),
        "index that is a text": changed(index="0"),
        "index with a fraction": changed(index=0.5),
        "huge index": changed(index=2**70),
        "gap in the indices": [two[0], {**two[1], "index": 2}],
        "same index twice": [two[0], {**two[1], "index": 0}],
        "same target twice": [two[0], {**two[1], "target": two[0]["target"]}],
        "too many volumes": volumes(257),
        "relative target": changed(target="data"),
        "target with parent": changed(target="/data/../etc"),
        "target that is the root": changed(target="/"),
        "target with two slashes": changed(target="//data"),
        "target with a newline": changed(target="/data\nforged log line"),
        "target with a NUL": changed(target="/data\0"),
        "target of half a character": changed(target="/\ud800"),
        "source with an escape sequence": changed(source="\x1b[2J"),
        "unknown scope": changed(scope="everything"),
        "format that is no number": {"format": "1", "volumes": volumes(1)},
        "format zero": {"format": 0, "volumes": volumes(1)},
    }
    return {
        f"manifest: {name}": (
            "archive_manifest_malformed",
            archive(listed=document if isinstance(document, bytes) else json.dumps(document).encode()),
        )
        for name, document in documents.items()
    }
