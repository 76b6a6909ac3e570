"""An object store that is slow, overloaded, cut off or gone: what passes is sat out, the rest is named, at once.

A real client talks to a real S3 server (moto's) through a proxy that misbehaves on order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.domain.errors import Conflict, Failed, HoldfastError, NoSpace, NotFound, Unavailable
from holdfast.domain.ids import new_id
from holdfast.engine.repository.blobs import BlobInfo, BlobStore
from holdfast.engine.repository.object_blobs import ObjectBlobs, Patience
from holdfast.engine.repository.s3 import S3Location, s3_blobs
from holdfast.testing.certificates import server_tls
from holdfast.testing.faulty_http import (
    Answer,
    CutOff,
    Fault,
    FaultyProxy,
    Hold,
    LoseAnswer,
    Refuse,
    Shorten,
    Stall,
    StallBody,
)
from holdfast.testing.s3_server import PAGE, S3Server

SECRET = "wJalrXUtnFEMI-hush"
CONTENT = bytes(range(256)) * 400
PATIENCE = Patience(attempts=3)
IMPATIENT = Patience(silence=0.7, request=1.5, attempts=3)


def s3_error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no\r\nforged line</Message></Error>".encode()


SLOW_DOWN = Answer(503, s3_error("SlowDown"))

OPERATIONS: dict[str, Callable[[BlobStore], object]] = {
    "get": lambda blobs: blobs.get("packs/there", limit=len(CONTENT)),
    "range": lambda blobs: blobs.get_range("packs/there", 100, 50_000),
    "empty range": lambda blobs: blobs.get_range("packs/there", 100, 0),
    "put": lambda blobs: blobs.put("packs/new", [CONTENT]),
    "create": lambda blobs: blobs.create("manifests/new", [CONTENT]),
    "list": lambda blobs: blobs.list_blobs("packs"),
    "delete": lambda blobs: blobs.delete(["packs/other"]),
}
RESULTS: dict[str, object] = {
    "get": CONTENT,
    "range": CONTENT[100:50_100],
    "empty range": b"",
    "list": [BlobInfo("packs/other", 1), BlobInfo("packs/there", len(CONTENT))],
}


class Bench:
    """A store behind a proxy, with two blobs in it."""

    def __init__(self, server: S3Server, proxy: FaultyProxy) -> None:
        self.bucket, self.proxy = f"bucket-{new_id()}", proxy
        server.make_bucket(self.bucket)
        self.pauses: list[float] = []
        self.blobs = self.open(PATIENCE)
        self.directly = s3_blobs(self._location(server.port))
        self.directly.put("repository.json", [b"{}"])
        self.directly.put("packs/there", [CONTENT])
        self.directly.put("packs/other", [b"x"])

    def _location(self, port: int) -> S3Location:
        return S3Location(
            bucket=self.bucket,
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id="AKIA",
            secret_access_key=SECRET,
        )

    def open(self, patience: Patience, port: int | None = None) -> ObjectBlobs:
        return s3_blobs(self._location(port or self.proxy.port), patience, self.pauses.append)

    def fails(self, operation: str, kind: type[HoldfastError]) -> HoldfastError:
        self.proxy.requests.clear()
        with pytest.raises(kind) as caught:
            OPERATIONS[operation](self.blobs)
        error = caught.value
        assert error.next_step
        assert self.bucket in error.message
        told = f"{error.message} {error.details}"
        assert SECRET not in told
        assert "\n" not in told
        return error


@pytest.fixture
def server(s3: S3Server) -> S3Server:
    return s3


@pytest.fixture
def bench(server: S3Server) -> Iterator[Bench]:
    with FaultyProxy(server.port) as proxy:
        yield Bench(server, proxy)


# --- what passes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [SLOW_DOWN, Answer(500), Answer(429), Refuse(), LoseAnswer()], ids=str)
def test_what_passes_is_sat_out(bench: Bench, operation: str, fault: Fault) -> None:
    bench.proxy.order(fault)
    bench.proxy.order(fault)
    result = OPERATIONS[operation](bench.blobs)
    assert result == RESULTS.get(operation)
    assert bench.proxy.left == 0
    there = {info.name for folder in ("packs", "manifests") for info in bench.directly.list_blobs(folder)}
    assert ("packs/new" in there) == (operation == "put")
    assert ("manifests/new" in there) == (operation == "create")
    assert ("packs/other" in there) == (operation != "delete")


@pytest.mark.parametrize("operation", ["get", "range", "list", "put"])
def test_silence_is_sat_out(bench: Bench, operation: str) -> None:
    bench.blobs = bench.open(IMPATIENT)
    bench.proxy.order(Stall())
    assert OPERATIONS[operation](bench.blobs) == RESULTS.get(operation)
    assert bench.proxy.left == 0


@pytest.mark.parametrize("operation", ["get", "range", "list"])
@pytest.mark.parametrize("fault", [CutOff(0), CutOff(70), StallBody(70)], ids=str)
def test_an_answer_that_ends_early_is_asked_for_again(bench: Bench, operation: str, fault: Fault) -> None:
    bench.blobs = bench.open(IMPATIENT)
    bench.proxy.order(fault)
    assert OPERATIONS[operation](bench.blobs) == RESULTS[operation]
    assert bench.proxy.left == 0


@pytest.mark.parametrize("operation", ["range", "list"])
def test_an_answer_that_is_shorter_than_it_must_be_is_asked_for_again(bench: Bench, operation: str) -> None:
    bench.proxy.order(Shorten(70))
    assert OPERATIONS[operation](bench.blobs) == RESULTS[operation]
    assert bench.proxy.left == 0


LOGIN_PAGE = Answer(200, b"<html>Please log in to the hotel's network</html>")


@pytest.mark.parametrize("operation", ["get", "range", "put", "create", "list"])
def test_what_answers_in_the_place_of_the_store_is_not_believed(bench: Bench, operation: str) -> None:
    bench.proxy.order(LOGIN_PAGE)
    assert OPERATIONS[operation](bench.blobs) == RESULTS.get(operation)
    assert bench.proxy.left == 0


@pytest.mark.parametrize("folder", ["", "condemned", "manifests", "packs"])
def test_a_list_that_something_else_answers_is_never_taken_for_an_empty_one(bench: Bench, folder: str) -> None:
    bench.directly.put("manifests/one", [b"x"])
    bench.proxy.order(LOGIN_PAGE, times=1000)
    with pytest.raises(Unavailable) as caught:
        bench.blobs.list_blobs(folder)
    assert caught.value.code == "blob_store_answer_broken"


def test_a_list_whose_second_page_something_else_answers_is_not_whole(bench: Bench) -> None:
    names = [f"manifests/{number:04}" for number in range(PAGE + 1)]
    for name in names:
        bench.directly.put(name, [b"x"])
    bench.proxy.order(LOGIN_PAGE, path="continuation-token")
    assert [info.name for info in bench.blobs.list_blobs("manifests")] == names
    assert bench.proxy.left == 0


def test_pauses_grow_and_differ(bench: Bench) -> None:
    blobs = bench.open(Patience(attempts=6, pause=1.0, longest_pause=4.0))
    bench.proxy.order(SLOW_DOWN, times=5)
    blobs.list_blobs("packs")
    low, high = [0.5, 1.0, 2.0, 2.0, 2.0], [1.0, 2.0, 4.0, 4.0, 4.0]
    assert all(a <= pause <= b for a, pause, b in zip(low, bench.pauses, high, strict=True))
    # Always the longest, they would be three. Two of the 512 possible ones of a step may be the same.
    assert len(set(bench.pauses)) > 3


# --- what does not pass --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [(SLOW_DOWN, "blob_store_busy"), (Answer(502), "blob_store_busy"), (Refuse(), "blob_store_unreachable")],
    ids=str,
)
def test_what_does_not_pass_is_named_after_a_bounded_number_of_attempts(
    bench: Bench, operation: str, fault: Fault, code: str
) -> None:
    bench.proxy.order(fault, times=1000)
    assert bench.fails(operation, Unavailable).code == code
    assert len(bench.proxy.requests) == PATIENCE.attempts
    assert bench.directly.get("packs/there", limit=len(CONTENT)) == CONTENT
    assert len(bench.directly.list_blobs("packs")) == 2


@pytest.mark.parametrize("operation", ["range", "create"])
def test_a_store_that_never_answers_is_slow(bench: Bench, operation: str) -> None:
    bench.blobs = bench.open(IMPATIENT)
    bench.proxy.order(Stall(), times=1000)
    assert bench.fails(operation, Unavailable).code == "blob_store_slow"


def test_a_slow_line_is_not_silence(bench: Bench) -> None:
    blobs = bench.open(Patience(silence=0.5, request=60.0, attempts=1))
    answer = threading.Event()
    bench.proxy.order(Hold(answer), method="PUT")
    bench.proxy.order(Stall(), method="GET")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(blobs.put, "packs/new", [CONTENT])
        with pytest.raises(Unavailable) as caught:
            blobs.get("packs/there", limit=len(CONTENT))
        assert caught.value.code == "blob_store_slow"
        answer.set()
        sending.result()
    assert bench.directly.get("packs/new", limit=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("operation", ["get", "range", "list"])
def test_answers_that_always_end_early_are_broken(bench: Bench, operation: str) -> None:
    bench.proxy.order(CutOff(20), times=1000)
    assert bench.fails(operation, Unavailable).code == "blob_store_answer_broken"


def test_no_attempt_begins_after_the_time_to_give_up(bench: Bench) -> None:
    bench.blobs = bench.open(Patience(attempts=100, give_up=0.0))
    bench.proxy.order(SLOW_DOWN, times=1000)
    bench.fails("get", Unavailable)
    assert len(bench.proxy.requests) == 1


def test_where_nothing_listens_the_store_is_unreachable(bench: Bench) -> None:
    with FaultyProxy(1) as gone:
        port = gone.port
    bench.blobs = bench.open(PATIENCE, port)
    for operation in OPERATIONS:
        error = bench.fails(operation, Unavailable)
        assert error.code == "blob_store_unreachable"
        assert "refused" in error.message


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Answer(403, s3_error("AccessDenied")), Failed, "blob_store_access_denied"),
        (Answer(401), Failed, "blob_store_access_denied"),
        (Answer(400, s3_error("InvalidRequest")), Failed, "blob_store_refused"),
        (Answer(301), Failed, "blob_store_refused"),
        (Answer(507, s3_error("XMinioStorageFull")), NoSpace, "no_space"),
    ],
    ids=str,
)
def test_a_refusal_is_named_at_once(
    bench: Bench, operation: str, fault: Fault, kind: type[HoldfastError], code: str
) -> None:
    bench.proxy.order(fault, times=1000)
    assert bench.fails(operation, kind).code == code
    assert len(bench.proxy.requests) == 1
    assert bench.pauses == []


def test_clocks_that_differ_are_named(bench: Bench) -> None:
    bench.proxy.order(Answer(403, s3_error("RequestTimeTooSkewed")))
    assert bench.fails("get", Failed).code == "blob_store_clock_differs"


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "empty range"])
def test_a_missing_bucket_is_not_taken_for_a_missing_blob(bench: Bench, operation: str) -> None:
    bench.bucket = f"never-made-{new_id()}"
    bench.blobs = bench.open(PATIENCE)
    assert bench.fails(operation, Failed).code == "blob_store_bucket_missing"


def test_a_blob_that_is_missing_is_asked_for_once(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.blobs.get("packs/never", limit=10)
    assert len(bench.proxy.requests) == 1


# --- creating ------------------------------------------------------------------------------------------------------


def test_a_blob_whose_creation_was_not_confirmed_is_known_again(bench: Bench) -> None:
    bench.proxy.order(LoseAnswer(), method="PUT")
    bench.blobs.create("manifests/mine", [b"mi", b"ne"])
    assert bench.directly.get("manifests/mine", limit=10) == b"mine"
    with pytest.raises(Conflict):
        bench.blobs.create("manifests/mine", [b"mine"])


@pytest.mark.parametrize("theirs", [b"them", b"theirs"])
def test_a_blob_that_somebody_else_created_meanwhile_is_a_conflict(bench: Bench, theirs: bytes) -> None:
    bench.directly.create("manifests/one", [theirs])
    bench.proxy.order(Refuse(), method="PUT")
    with pytest.raises(Conflict) as caught:
        bench.blobs.create("manifests/one", [b"mine"])
    assert caught.value.code == "blob_exists"
    assert bench.directly.get("manifests/one", limit=10) == theirs


def test_a_creation_that_crossed_a_deletion_is_tried_again(bench: Bench) -> None:
    bench.proxy.order(Answer(409, s3_error("ConditionalRequestConflict")), method="PUT")
    bench.blobs.create("manifests/one", [b"mine"])
    assert bench.directly.get("manifests/one", limit=10) == b"mine"


def test_a_creation_that_is_never_confirmed_says_so(bench: Bench) -> None:
    bench.proxy.order(LoseAnswer(), times=1000)
    assert bench.fails("create", Unavailable).code == "blob_store_unreachable"


# --- the connection ------------------------------------------------------------------------------------------------


def test_a_certificate_must_be_vouched_for(server: S3Server, bench: Bench, tmp_path: Path) -> None:
    tls, authority = server_tls(tmp_path)
    with FaultyProxy(server.port, tls) as proxy:
        unknown = S3Location(
            bucket=bench.bucket,
            endpoint=f"https://127.0.0.1:{proxy.port}",
            access_key_id="AKIA",
            secret_access_key=SECRET,
        )
        bench.blobs = s3_blobs(unknown, PATIENCE)
        assert bench.fails("get", Failed).code == "blob_store_certificate_untrusted"
        assert proxy.requests == []
        known = s3_blobs(replace(unknown, certificate=authority), PATIENCE)
        assert known.get("packs/there", limit=len(CONTENT)) == CONTENT
