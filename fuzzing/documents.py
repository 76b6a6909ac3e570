"""Fuzz targets of what reads text: manifests, journals, declarations and paths."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, cast

import msgspec
from blake3 import blake3

from holdfast.api.schemas.workload import parse_workload_json, parse_workload_yaml, to_document
from holdfast.api.workload_body import parse_json
from holdfast.domain.chosen_paths import ChosenPaths, by_volume, container_path
from holdfast.domain.errors import Damaged, HoldfastError, InvalidInput, Refused, TooLarge
from holdfast.domain.restore import Identity, OnUnhealthy, RestoreFacts, RestoreResult, RootRef, VolumeFacts
from holdfast.domain.restore_records import (
    CommitRecord,
    ConfirmedRecord,
    DoneRecord,
    PreparedRecord,
    Record,
    SafeRecord,
    StagedRecord,
    StagingRecord,
    SwappedRecord,
    allowed_next,
)
from holdfast.domain.snapshot import CapturedVolume, Consistency, SnapshotManifest, SnapshotReason
from holdfast.domain.workload import DesiredState, Scope, WorkloadSpec
from holdfast.engine.archive.format import Use, decode_embedded, decode_stored, encode
from holdfast.engine.journal_codec import encode as encode_record
from holdfast.engine.journal_codec import parse
from holdfast.engine.manifest_codec import MAX_VOLUMES, check_manifest
from holdfast.engine.repository.blobs import BlobStore
from holdfast.engine.repository.key_export import export_key, import_key
from holdfast.engine.repository.manifests import Manifests
from holdfast.engine.repository.seal import PlainSealer, RepositoryKeys
from holdfast.engine.signed_json import Malformed, canonical, parse_object, signed
from holdfast.testing.hostile_manifests import hostile_manifests

KEY: Final = bytes(range(32))
_KEYS: Final = RepositoryKeys.derive(KEY)
_ID: Final = "0" * 25 + "1"
_AT: Final = "2026-01-01T00:00:00.000000Z"
_PASSPHRASE: Final = "correct horse battery"


# --- manifests ---------------------------------------------------------------------------------------------------


def read_manifest(data: bytes) -> bool:
    """The first byte says which kind of manifest; what has a MAC gets the right one: its fields are looked at."""
    kind, text = data[:1], data[1:]
    try:
        if kind < b"\x40":
            return _read_embedded(text)
        if kind < b"\x80":
            return _read_stored(text)
        if kind < b"\xc0":
            return _read_in_repository(text)
        import_key(text, _PASSPHRASE)
    except (Damaged, Refused, InvalidInput):
        return False
    return True


def _read_embedded(text: bytes) -> bool:
    embedded = decode_embedded(text, KEY)
    assert embedded.own is None
    _check_volumes(embedded.volumes)
    again = msgspec.json.encode([{**msgspec.to_builtins(volume)} for volume in embedded.volumes])
    assert decode_embedded(again, KEY).volumes == embedded.volumes
    return True


def _read_stored(text: bytes) -> bool:
    try:
        document = parse_object(text, 1 << 20)
    except Malformed:
        decode_stored(text, KEY, "fuzz")  # raises Damaged
        raise AssertionError("what is no JSON was read as a manifest") from None
    with suppress(RecursionError, ValueError):
        right = signed(document, blake3(KEY, derive_key_context=Use.STORE.value).digest())
        manifest = decode_stored(right, KEY, "fuzz")
        check_manifest(manifest)
        _check_volumes(manifest.volumes)
        assert decode_stored(encode(manifest, KEY, Use.STORE), KEY, "fuzz") == manifest
        return True
    return False


class _OneBlob:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def get(self, name: str, *, limit: int) -> bytes:
        assert name == f"manifests/{_ID}"
        assert len(self._content) <= limit
        return self._content


def _read_in_repository(text: bytes) -> bool:
    try:
        right = signed(parse_object(text, 1 << 20), _KEYS.manifest)
    except (Malformed, RecursionError, ValueError):
        return False
    stored = Manifests(cast("BlobStore", _OneBlob(right)), _KEYS, PlainSealer()).read(_ID)
    assert stored.id == _ID
    assert [tree.index for tree in stored.trees] == [volume.index for volume in stored.manifest.volumes]
    assert all(len(chunk) == 32 for tree in stored.trees for chunk in tree.chunks)
    return True


def _check_volumes(volumes: Iterable[CapturedVolume]) -> None:
    listed = list(volumes)
    assert len(listed) <= MAX_VOLUMES
    assert sorted(volume.index for volume in listed) == list(range(len(listed)))
    for volume in listed:
        assert volume.target.startswith("/")
        assert not {"", ".", ".."} & set(volume.target[1:].split("/"))
        assert (volume.target + volume.source).isprintable()


def manifest_seeds() -> Iterable[bytes]:
    """Whole ones of each kind, and the hostile ones' documents."""
    volume = CapturedVolume(index=0, target="/data", scope=Scope.STAGE, source="data")
    manifest = SnapshotManifest(
        id=_ID,
        workload_id=_ID,
        workload_name="notes",
        created_at=_AT,
        reason=SnapshotReason.MANUAL,
        consistency=Consistency.STOPPED,
        volumes=(volume,),
    )
    document = msgspec.to_builtins(manifest)
    tree = {"index": 0, "chunks": ["ab" * 32], "root": {"handle_type": 1, "handle": "aa"}, "scan_started_ns": 1}
    yield b"\0" + msgspec.json.encode([msgspec.to_builtins(volume)])
    yield b"\x40" + canonical(document)
    yield b"\x80" + canonical({"format": 1, "snapshot": document, "trees": [tree]})
    yield b"\xc0" + export_key(KEY, _PASSPHRASE, scrypt_n=2)
    for _, content in hostile_manifests().values():
        if len(content) < 1000:
            yield b"\0" + content
    for text in (
        b"[]",
        b"{}",
        b'{"volumes":[{"Index":0,"Target":"/a","Scope":"stage"}]}',
        b"[" * 2000,
        b'{"format":2}',
    ):
        yield b"\0" + text


# --- journals ----------------------------------------------------------------------------------------------------


def read_journal(data: bytes) -> bool:
    """The first byte says whether each line gets its right checksum, so that what it says is looked at."""
    content = data[1:]
    if data[:1] >= b"\x40":
        lines = content.split(b"\n")
        content = b"\n".join([*(_summed(line) for line in lines[:-1]), lines[-1]])
    try:
        parsed = parse("fuzz", content)
    except Damaged as error:
        assert error.code in ("journal_damaged", "journal_too_new")
        assert error.details["journal"] == "fuzz"
        return False
    assert parsed.whole_bytes <= len(content)
    assert parsed.torn or not content[parsed.whole_bytes :].strip(b"\0")
    for line in content[: parsed.whole_bytes].split(b"\n")[:-1]:
        assert _summed(line) == line
    for number, record in enumerate(parsed.records):
        assert record.type in allowed_next(parsed.records[:number])
    again = b"".join(encode_record(each, seq=n, at=_AT) for n, each in enumerate(parsed.records, start=1))
    once_more = parse("fuzz", again)
    assert once_more.records == parsed.records
    assert (once_more.facts, once_more.direction) == (parsed.facts, parsed.direction)
    assert parse("fuzz", content[: parsed.whole_bytes]).records == parsed.records
    return True


def _summed(line: bytes) -> bytes:
    return blake3(line[17:]).hexdigest()[:16].encode() + b" " + line[17:]


def journal_seeds() -> Iterable[bytes]:
    """Journals of whole restores, cut after each of their lines."""
    identity = Identity(handle_type=1, handle="aa")
    volume = VolumeFacts(
        index=0,
        target="/data",
        live=RootRef(root="/srv", relative="notes/data"),
        wrapper=".holdfast-r1-0",
        live_identity=identity,
        parent_identity=identity,
    )
    facts = RestoreFacts(
        restore_id="r1",
        operation_id="o1",
        workload_id="w1",
        workload_name="notes",
        lock_ids=("w1",),
        snapshot_id="s1",
        volumes=(volume,),
        desired=DesiredState.RUNNING,
        on_unhealthy=OnUnhealthy.REVERT,
        actor="ada",
    )
    records: tuple[Record, ...] = (
        StagingRecord(facts=facts),
        StagedRecord(staged={0: Identity(handle_type=1, handle="bb")}),
        PreparedRecord(containers=()),
        SafeRecord(snapshot_id="s2"),
        CommitRecord(),
        SwappedRecord(),
        ConfirmedRecord(result=RestoreResult.RESTORED),
        DoneRecord(),
    )
    lines = [encode_record(each, seq=number, at=_AT) for number, each in enumerate(records, start=1)]
    for kind in (b"\0", b"\x40"):
        for end in range(1, len(lines) + 1):
            yield kind + b"".join(lines[:end])
        yield kind + lines[0] + lines[1][:50] + bytes(20)
    yield b"\x40" + b"." * 17 + b"[" * 3000 + b"\n"


# --- declarations ------------------------------------------------------------------------------------------------


def read_declaration(data: bytes) -> bool:
    """YAML, or JSON where it begins as that. What is taken is written and read again, and is the same."""
    try:
        spec = _declared(data)
    except (InvalidInput, TooLarge) as error:
        assert error.code.startswith(("yaml_", "json_", "workload_"))
        assert error.next_step
        return False
    document = to_document(spec)
    assert parse_workload_json(document) == spec
    assert parse_workload_json(json.loads(json.dumps(document))) == spec
    return True


def _declared(data: bytes) -> WorkloadSpec:
    if data.startswith(b"{"):
        return parse_workload_json(parse_json(data.decode("utf-8", "replace").encode()))
    return parse_workload_yaml(data.decode("utf-8", "replace"))


def declaration_seeds() -> Iterable[bytes]:
    """One of everything, in both languages, and what expands."""
    yaml = b"""
name: notes
project: home
stage: test
source: {type: image, image: registry.example/notes:1.4}
env: {TZ: UTC, A: ""}
command: [serve, --port, "80"]
stop_grace: 1m30s
ports: ["127.0.0.1:8080:80", 9000, "[::1]:8443:443/udp"]
volumes:
  - {target: /data, scope: stage, source: data}
  - {target: /cache, scope: ephemeral, size: 64MiB}
health: {type: http, port: 80, path: /healthz, interval: 500ms}
resources: {memory: 512MiB, cpus: 1.5}
snapshots: {quiesce: hooks, keep: {last: 7}}
hooks: {pre_snapshot: [save]}
"""
    yield yaml
    yield json.dumps(to_document(parse_workload_yaml(yaml.decode()))).encode()
    yield b"name: &a x\nproject: *a\nsource: {type: image, image: *a}\n"
    yield b"a: &a [x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n"
    yield b"a: &a {b: *a}\n"
    yield b"- " * 200 + b"x"
    yield b'{"name": 9999999999999999999999, "volumes": [[[[]]]]}'
    yield b"%TAG ! tag:x,2026:\n--- !a b\n"
    yield b"? [a]\n: {<<: {b: 1e999, c: 0x10, d: 0o7, e: .inf, f: 2020-01-01}}\n"


# --- paths -------------------------------------------------------------------------------------------------------


def read_paths(data: bytes) -> bool:
    """Chosen paths, one a line: what is chosen is below the volume that is named, and covers itself and no sibling."""
    taken = []
    for raw in data.split(b"\n"):
        try:
            path = container_path(raw)
        except InvalidInput as error:
            assert error.code == "path_malformed"
            assert error.message.isprintable()
            continue
        assert path == b"/" or not {b"", b".", b".."} & set(path[1:].split(b"/"))
        assert container_path(path) == path
        taken.append(path)
    targets = ("/data", "/data/deep", "/uploads")
    try:
        chosen, _ = by_volume(taken, targets)
    except HoldfastError:
        return False
    for target, paths in chosen.items():
        assert target in targets
        _check_chosen(paths)
    return bool(chosen)


def _check_chosen(chosen: ChosenPaths) -> None:
    assert ChosenPaths(chosen.paths).paths == chosen.paths
    for path in chosen.paths:
        assert not path.startswith(b"/")
        assert chosen.covers(path)
        assert chosen.covers(path + b"/below") or not path
        assert chosen.whole or not any(chosen.covers(above) for above in chosen.above)
    assert chosen.whole or not chosen.covers(b"\xff no such path")


def path_seeds() -> Iterable[bytes]:
    """Paths of all kinds."""
    yield b"/data/a\n/data/a/b\n/data/deep/x\n/uploads"
    yield b"/data/../etc\n/data/./x\n//data\n/data//x\n/data/\n/\n\nrelative\n/data/a\0b\n/data/\xff"
