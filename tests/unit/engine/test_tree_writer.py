"""The tree writer: exact for what it takes, closed against what it must not do."""

import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from holdfast.domain.errors import Failed, HoldfastError, InvalidInput, NoSpace, TooLarge
from holdfast.engine.entries import Entry, EntryKind
from holdfast.engine.fs import Fs
from holdfast.engine.limits import Limits, Tally
from holdfast.engine.tree_writer import TreeWriter, WritePolicy, Written
from holdfast.engine.walk import WalkReport, walk
from holdfast.engine.written_tree import WrittenFiles
from holdfast.testing.trees import build_sample_tree, describe_tree, posix_acl

OpenDir = Callable[[Path], int]

OWN = WritePolicy(links=True, privileged=True, limits=Limits.for_own_snapshots())
FOREIGN = WritePolicy(links=False, privileged=False, limits=Limits())
NOW = 1_700_000_000_987_654_321


def file(path: bytes, size: int = 0, **facts: object) -> Entry:
    return make(EntryKind.FILE, path, size=size, **facts)


def directory(path: bytes, **facts: object) -> Entry:
    return make(EntryKind.DIRECTORY, path, **{"mode": 0o755, **facts})


def symlink(path: bytes, target: bytes) -> Entry:
    return make(EntryKind.SYMLINK, path, link_target=target)


def hardlink(path: bytes, target: bytes) -> Entry:
    return make(EntryKind.HARDLINK, path, link_target=target)


def make(kind: EntryKind, path: bytes, **facts: object) -> Entry:
    return Entry(**{"path": path, "kind": kind, "mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": NOW, **facts})  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "wrapper" / "staged"


@pytest.fixture
def writer(fs: Fs, root: Path, open_dir: OpenDir) -> Callable[..., TreeWriter]:
    def make_writer(policy: WritePolicy = OWN, tally: Tally | None = None, using: Fs = fs) -> TreeWriter:
        root.parent.mkdir(exist_ok=True)
        return TreeWriter(using, open_dir(root), policy, tally)

    return make_writer


def code_of(run: Callable[[], object]) -> str:
    with pytest.raises(HoldfastError) as caught:
        run()
    assert caught.value.next_step
    return caught.value.code


def test_a_tree_with_everything_in_it_comes_out_the_same(
    fs: Fs, tmp_path: Path, root: Path, open_dir: OpenDir, writer: Callable[..., TreeWriter]
) -> None:
    build_sample_tree(tmp_path / "live")
    write = writer()
    for walked in walk(fs, open_dir(tmp_path / "live"), WalkReport()):
        if walked.entry.kind is EntryKind.FILE:
            with walked.open() as content:
                write.add(content.entry, content)
        else:
            write.add(walked.entry)
    written = write.finish()
    expected = describe_tree(tmp_path / "live")
    assert describe_tree(root) == expected
    kinds = [value[0] for value in expected.values()]
    assert written.files + written.links == kinds.count("file") + kinds.count("symlink")
    assert written.directories == kinds.count("directory") - 1
    assert written.not_taken == ()


@pytest.mark.parametrize(
    "path", [b"/etc/passwd", b"../outside", b"a/../../outside", b"a/./b", b"./a", b"a//b", b"a/", b"a\0b", b".", b".."]
)
@pytest.mark.parametrize("kind", list(EntryKind))
def test_names_that_lead_elsewhere_are_refused(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter], path: bytes, kind: EntryKind
) -> None:
    write = writer()
    assert code_of(lambda: write.add(make(kind, path, link_target=b"x"))) == "archive_name_refused"
    assert not list(root.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wrapper"]


def test_a_name_that_the_filesystem_does_not_take_is_refused(writer: Callable[..., TreeWriter]) -> None:
    assert code_of(lambda: writer().add(file(b"n" * 256))) == "archive_name_too_long"
    roomy = WritePolicy(links=True, privileged=True, limits=Limits(name_bytes=1000))
    assert code_of(lambda: writer(roomy).add(file(b"n" * 256))) == "filesystem_refuses_name"


def test_the_root_must_be_a_directory(writer: Callable[..., TreeWriter]) -> None:
    assert code_of(lambda: writer().add(file(b""))) == "archive_metadata_invalid"


@pytest.mark.parametrize(
    "entries",
    [
        [file(b"a"), file(b"a")],
        [directory(b"a"), directory(b"a")],
        [file(b"a"), directory(b"a")],
        [directory(b"a"), file(b"a")],
        [file(b"a/b"), directory(b"a"), directory(b"a")],
        [file(b"a/b"), file(b"a")],
        [directory(b""), directory(b"")],
        [file(b"a"), symlink(b"a", b"x")],
        [symlink(b"a", b"x"), symlink(b"a", b"y")],
        [symlink(b"a", b"x"), file(b"a/b")],
        [file(b"a"), file(b"b"), hardlink(b"b", b"a")],
    ],
)
def test_a_second_entry_of_the_same_name_is_refused(writer: Callable[..., TreeWriter], entries: list[Entry]) -> None:
    def run() -> None:
        write = writer()
        for entry in entries:
            write.add(entry)
        write.finish()

    assert code_of(run) == "archive_duplicate_entry"


def test_nothing_is_written_below_a_file(writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    write.add(file(b"a"))
    assert code_of(lambda: write.add(file(b"a/b"))) == "archive_parent_not_directory"


def test_a_symlink_of_the_archive_is_never_written_through(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter]
) -> None:
    (tmp_path / "outside").mkdir()
    write = writer()
    write.add(symlink(b"link", os.fsencode(tmp_path / "outside")))
    write.add(file(b"link/escaped", 1), [b"x"])
    assert code_of(write.finish) == "archive_duplicate_entry"
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("last", [file(b"d/escaped"), directory(b"d/escaped"), hardlink(b"d/escaped", b"f")])
def test_a_symlink_planted_in_place_of_a_directory_is_not_followed(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter], last: Entry
) -> None:
    (tmp_path / "outside").mkdir()
    write = writer()
    write.add(file(b"f"))
    write.add(directory(b"d"))
    (root / "d").rmdir()
    (root / "d").symlink_to(tmp_path / "outside")
    assert code_of(lambda: write.add(last)) == "archive_parent_not_directory"
    assert not list((tmp_path / "outside").iterdir())


def test_a_symlink_planted_before_the_end_does_not_get_its_target_changed(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter]
) -> None:
    (tmp_path / "outside").mkdir(mode=0o751)
    before = describe_tree(tmp_path / "outside")
    write = writer()
    write.add(directory(b"d", mode=0o777, uid=5))
    (root / "d").rmdir()
    (root / "d").symlink_to(tmp_path / "outside")
    assert code_of(write.finish) == "archive_parent_not_directory"
    assert describe_tree(tmp_path / "outside") == before


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"/etc/passwd", "archive_name_refused"),
        (b"../../secret", "archive_name_refused"),
        (b"", "archive_name_refused"),
        (b"nowhere", "archive_link_target_refused"),
        (b"d", "archive_link_target_refused"),
        (b"f/below", "archive_link_target_refused"),
        (b"link", "archive_link_target_refused"),
        (b"planted", "archive_link_target_refused"),
        (b"planted file", "archive_link_target_refused"),
        (b"d/planted/secret", "archive_link_target_refused"),
    ],
)
def test_a_hardlink_goes_only_to_a_file_that_the_same_run_wrote(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter], target: bytes, code: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    write = writer()
    write.add(file(b"f"))
    write.add(directory(b"d"))
    write.add(symlink(b"link", b"f"))
    (root / "planted").symlink_to(tmp_path / "secret")
    (root / "d" / "planted").symlink_to(tmp_path)
    (root / "planted file").touch()
    assert code_of(lambda: write.add(hardlink(b"h", target))) == code
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_a_hardlink_to_a_path_longer_than_the_kernel_takes_works(root: Path, writer: Callable[..., TreeWriter]) -> None:
    path = b"/".join([b"d" * 200] * 40) + b"/file"
    write = writer()
    write.add(file(path, 1), [b"x"])
    write.add(hardlink(b"short", path))
    write.finish()
    assert (root / "short").read_bytes() == b"x"
    assert (root / "short").stat().st_nlink == 2


def test_missing_parents_are_made_and_may_be_given_later(root: Path, writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    write.add(file(b"made/given/f"))
    write.add(directory(b"made/given", mode=0o700, uid=7, gid=8))
    assert write.finish() == Written(files=1, directories=2, links=0, bytes=0, not_taken=())
    found = describe_tree(root)
    assert found[b"made"][:4] == ("directory", 0o755, 0, 0)
    assert found[b"made/given"][:5] == ("directory", 0o700, 7, 8, NOW)


def test_the_root_gets_the_metadata_of_its_own_entry(root: Path, writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    write.add(file(b"f"))
    write.add(directory(b"", mode=0o750, uid=7, gid=8, xattrs=((b"user.a", b"b"),)))
    write.finish()
    assert describe_tree(root)[b""] == ("directory", 0o750, 7, 8, NOW, (("user.a", b"b"),))


def test_the_staged_root_is_closed_to_others_until_the_end(root: Path, writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    write.add(directory(b"", mode=0o777))
    write.add(directory(b"d", mode=0o777))
    assert [p.stat().st_mode & 0o777 for p in (root, root / "d")] == [0o700, 0o700]
    write.finish()
    assert [p.stat().st_mode & 0o777 for p in (root, root / "d")] == [0o777, 0o777]


def test_links_are_listed_and_not_made_unless_allowed(root: Path, writer: Callable[..., TreeWriter]) -> None:
    write = writer(FOREIGN)
    write.add(file(b"f"))
    write.add(symlink(b"s\n", b"/etc/passwd"))
    write.add(hardlink(b"h", b"f"))
    assert write.finish().not_taken == ("s\\n (symlink)", "h (hardlink)")
    assert os.listdir(root) == ["f"]


def test_privilege_is_stripped_and_listed_unless_allowed(root: Path, writer: Callable[..., TreeWriter]) -> None:
    capability = struct.pack("<5I", 0x0200_0001, 1 << 10, 0, 0, 0)
    acl = posix_acl(user=9)
    xattrs = (
        (b"security.capability", capability),
        (b"system.nfs4_acl", b"x"),
        (b"system.posix_acl_access", acl),
        (b"trusted.x", b"1"),
        (b"user.x", b"2"),
    )
    entries = [file(b"f", mode=0o6750, xattrs=xattrs), directory(b"d", mode=0o3775)]
    write = writer(FOREIGN)
    for entry in entries:
        write.add(entry)
    assert write.finish().not_taken == (
        "f (setuid or setgid bit)",
        "f (attribute security.capability)",
        "f (attribute system.nfs4_acl)",
        "f (attribute trusted.x)",
        "d (setuid or setgid bit)",
    )
    found = describe_tree(root)
    assert (found[b"f"][1], found[b"d"][1]) == (0o750, 0o1775)
    assert found[b"f"][5] == (("system.posix_acl_access", acl), ("user.x", b"2"))


def test_what_is_not_taken_is_named_up_to_a_bound(writer: Callable[..., TreeWriter]) -> None:
    write = writer(FOREIGN)
    for number in range(1500):
        write.add(symlink(b"%d" % number, b"x"))
    not_taken = write.finish().not_taken
    assert (len(not_taken), not_taken[-1]) == (1001, "and 500 more")


def test_default_acls_of_the_parent_are_not_inherited(
    tmp_path: Path, root: Path, writer: Callable[..., TreeWriter]
) -> None:
    root.parent.mkdir()
    os.setxattr(root.parent, "system.posix_acl_default", posix_acl(user=4321))
    write = writer()
    write.add(file(b"d/f", mode=0o640))
    write.add(directory(b""))
    write.finish()
    assert [value[5] for value in describe_tree(root).values()] == [(), (), ()]


def test_an_acl_that_says_no_more_than_the_mode_is_no_acl(root: Path, writer: Callable[..., TreeWriter]) -> None:
    plain = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, perm, 0xFFFF_FFFF) for tag, perm in ((1, 6), (4, 4), (0x20, 0))
    )
    write = writer()
    write.add(file(b"f", mode=0o640, xattrs=((b"system.posix_acl_access", plain),)))
    write.finish()
    assert describe_tree(root)[b"f"][1] == 0o640


@pytest.mark.parametrize(
    "xattrs",
    [
        ((b"system.posix_acl_access", b"nonsense"),),
        ((b"system.posix_acl_access", struct.pack("<IHHI", 2, 99, 7, 0)),),
        ((b"system.posix_acl_default", posix_acl(user=1)),),
        ((b"user.", b"x"),),
        ((b"user.a", b"1"), (b"user.a", b"2")),
    ],
)
def test_malformed_attributes_are_refused(
    writer: Callable[..., TreeWriter], xattrs: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert code_of(lambda: writer().add(file(b"f", xattrs=xattrs))) == "archive_xattr_invalid"


@pytest.mark.parametrize(
    "facts",
    [
        {"mode": 0o10000},
        {"mode": -1},
        {"uid": -1},
        {"gid": 2**32 - 1},
        {"mtime_ns": 2**71},
        {"mtime_ns": -(2**71)},
        {"size": -1},
    ],
)
def test_metadata_out_of_range_is_refused(writer: Callable[..., TreeWriter], facts: dict[str, object]) -> None:
    assert code_of(lambda: writer().add(file(b"f", **facts))) == "archive_metadata_invalid"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extents", [((10, 10), (5, 5)), ((0, 10), (9, 5)), ((0, 0),), ((95, 10),), ((-1, 5),), ((0, -5),)]
)
def test_an_impossible_sparse_map_is_refused(
    writer: Callable[..., TreeWriter], extents: tuple[tuple[int, int], ...]
) -> None:
    assert code_of(lambda: writer().add(file(b"f", 100, extents=extents), [b"x" * 10])) == "archive_sparse_map_invalid"


@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_an_impossible_symlink_is_refused(writer: Callable[..., TreeWriter], target: bytes) -> None:
    assert code_of(lambda: writer().add(symlink(b"s", target))) == "archive_link_target_refused"


def test_data_regions_are_written_where_they_belong_and_holes_stay_holes(
    root: Path, writer: Callable[..., TreeWriter]
) -> None:
    extents = ((4096, 4096), (1 << 20, 8192), (1 << 30, 100))
    data = b"a" * 4096 + b"b" * 8192 + b"c" * 100
    write = writer()
    # Pieces that don't match the regions' borders.
    write.add(file(b"f", 1 << 31, extents=extents), (data[at : at + 1000] for at in range(0, len(data), 1000)))
    assert write.finish().bytes == len(data)
    with open(root / "f", "rb") as handle:
        for (offset, length), letter in zip(extents, b"abc", strict=True):
            handle.seek(offset)
            assert handle.read(length) == bytes([letter]) * length
    assert (root / "f").stat().st_size == 1 << 31
    assert (root / "f").stat().st_blocks * 512 < 1 << 16


@pytest.mark.parametrize("extents", [None, ((0, 5),)])
@pytest.mark.parametrize("data", [b"", b"1234", b"123456"])
def test_more_or_less_data_than_announced_is_refused(
    writer: Callable[..., TreeWriter], data: bytes, extents: tuple[tuple[int, int], ...] | None
) -> None:
    assert code_of(lambda: writer().add(file(b"f", 5, extents=extents), [data])) == "archive_size_disagrees"


@pytest.mark.parametrize(
    ("limits", "entries", "code"),
    [
        (Limits(entries=2), [file(b"a"), file(b"b"), file(b"c")], "archive_too_many_entries"),
        (Limits(entries=2), [file(b"a/b/c")], "archive_too_many_entries"),
        (Limits(depth=2), [file(b"a/b"), file(b"a/c/d")], "archive_too_deep"),
        (Limits(name_bytes=3), [file(b"abc/abc"), file(b"abc/abcd")], "archive_name_too_long"),
        (Limits(path_bytes=7), [file(b"abc/abc"), file(b"abc/abcd")], "archive_path_too_long"),
        (Limits(path_bytes=7), [symlink(b"a", b"x" * 8)], "archive_path_too_long"),
        (Limits(file_bytes=5), [file(b"a", 5), file(b"b", 6)], "archive_file_too_large"),
        (Limits(file_bytes=5), [file(b"b", 6, extents=())], "archive_file_too_large"),
        (Limits(total_bytes=9), [file(b"a", 5), file(b"b", 5)], "archive_too_large"),
        (Limits(xattr_bytes=9), [file(b"a", xattrs=((b"user.a", b"1234"),))], "archive_xattrs_too_large"),
        (Limits(sparse_regions=1), [file(b"a", 9, extents=((0, 2), (4, 2)))], "archive_too_many_sparse_regions"),
    ],
)
def test_each_limit_holds(writer: Callable[..., TreeWriter], limits: Limits, entries: list[Entry], code: str) -> None:
    write = writer(WritePolicy(links=True, privileged=True, limits=limits))
    for entry in entries[:-1]:
        write.add(entry, [bytes(entry.data_bytes)])
    with pytest.raises(TooLarge) as caught:
        write.add(entries[-1], [bytes(entries[-1].data_bytes)])
    assert caught.value.code == code


def test_limits_hold_for_all_volumes_of_an_import_together(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    policy = WritePolicy(links=True, privileged=False, limits=Limits(total_bytes=9))
    tally = Tally(policy.limits)
    TreeWriter(fs, open_dir(tmp_path / "0"), policy, tally).add(file(b"a", 5), [b"12345"])
    second = TreeWriter(fs, open_dir(tmp_path / "1"), policy, tally)
    assert code_of(lambda: second.add(file(b"a", 5), [b"12345"])) == "archive_too_large"


def test_a_directory_that_is_not_empty_is_refused(root: Path, writer: Callable[..., TreeWriter]) -> None:
    root.mkdir(parents=True)
    (root / "something").touch()
    assert code_of(writer) == "staging_not_empty"


def test_a_writer_that_failed_can_not_be_finished(writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    with pytest.raises(InvalidInput):
        write.add(file(b".."))
    assert code_of(write.finish) == "staging_broken_off"
    assert code_of(lambda: write.add(file(b"a"))) == "staging_broken_off"


def test_a_finished_writer_takes_nothing_more(writer: Callable[..., TreeWriter]) -> None:
    write = writer()
    write.finish()
    assert code_of(lambda: write.add(file(b"a"))) == "staging_broken_off"


class Forgetful(Fs):
    """A filesystem that reports success and keeps nothing."""

    def __init__(self, forgets: str) -> None:
        self._forgets = forgets

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        if self._forgets != "fchown":
            super().fchown(fd, uid, gid)

    def chownat_nofollow(self, dirfd: int, name: bytes, uid: int, gid: int) -> None:
        if self._forgets != "chown link":
            super().chownat_nofollow(dirfd, name, uid, gid)

    def openat(self, dirfd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        return super().openat(dirfd, name, flags, 0o600 if self._forgets == "fchmod" else mode)

    def fchmod(self, fd: int, mode: int) -> None:
        if self._forgets != "fchmod":
            super().fchmod(fd, mode)

    def utime_fd(self, fd: int, mtime_ns: int) -> None:
        super().utime_fd(fd, mtime_ns // 10**9 * 10**9 if self._forgets == "nanoseconds" else mtime_ns)

    def utimeat_nofollow(self, dirfd: int, name: bytes, mtime_ns: int) -> None:
        if self._forgets != "link time":
            super().utimeat_nofollow(dirfd, name, mtime_ns)

    def setxattr(self, fd: int, name: bytes, value: bytes) -> None:
        if self._forgets == "space for xattr":
            raise OSError(28, "No space left on device")
        if self._forgets == "xattr support":
            raise OSError(95, "Operation not supported")
        if self._forgets != "xattr":
            super().setxattr(fd, name, value)


@pytest.mark.parametrize("forgets", ["fchown", "fchmod", "nanoseconds", "xattr", "space for xattr", "xattr support"])
@pytest.mark.parametrize("make_entry", [file, directory])
def test_metadata_that_was_not_kept_is_an_error_that_names_file_and_filesystem(
    writer: Callable[..., TreeWriter], forgets: str, make_entry: Callable[..., Entry]
) -> None:
    write = writer(using=Forgetful(forgets))

    def run() -> None:
        write.add(make_entry(b"some\nname", uid=5, gid=6, mode=0o751, xattrs=((b"user.a", b"b"),)))
        write.finish()

    with pytest.raises(Failed, match=r"The filesystem \(\w+ at /.*\) did not keep the .* of some\\nname") as caught:
        run()
    assert caught.value.code == "metadata_not_kept"


@pytest.mark.parametrize("forgets", ["chown link", "link time"])
def test_a_symlinks_own_metadata_is_read_back_too(writer: Callable[..., TreeWriter], forgets: str) -> None:
    write = writer(using=Forgetful(forgets))
    write.add(make(EntryKind.SYMLINK, b"s", link_target=b"x", uid=5))
    assert code_of(write.finish) == "metadata_not_kept"


@pytest.mark.parametrize("options", ["size=64k", "nr_inodes=5"])
def test_a_full_filesystem_is_no_space(fs: Fs, open_dir: OpenDir, tmpfs: Callable[..., Path], options: str) -> None:
    write = TreeWriter(fs, open_dir(tmpfs(options) / "staged"), OWN)

    def run() -> None:
        for number in range(10):
            write.add(file(b"%d" % number, 1 << 15), [b"x" * (1 << 15)])

    with pytest.raises(NoSpace) as caught:
        run()
    assert caught.value.code == "no_space"
    assert "writing" in caught.value.message


def test_an_error_of_the_data_passes_and_leaves_no_descriptor(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    class Torn(Exception):
        pass

    def data() -> Iterable[bytes]:
        yield b"x"
        raise Torn

    root = open_dir(tmp_path / "staged")
    before = len(os.listdir("/proc/self/fd"))
    write = TreeWriter(fs, root, OWN)
    with pytest.raises(Torn):
        write.add(file(b"a/b/c/d", 5), data())
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_stays_open_after_the_end(fs: Fs, tmp_path: Path, open_dir: OpenDir) -> None:
    root = open_dir(tmp_path / "staged")
    before = len(os.listdir("/proc/self/fd"))
    write = TreeWriter(fs, root, OWN)
    write.add(file(b"a/b/c/d"))
    write.add(hardlink(b"e", b"a/b/c/d"))
    write.add(symlink(b"f/g", b"x"))
    write.finish()
    assert len(os.listdir("/proc/self/fd")) == before


def test_written_inodes_are_remembered_however_many_there_are() -> None:
    written = WrittenFiles()
    for number in range(300_000):
        written.add(number * 7 % 2_100_000)
    assert all(number * 7 in written for number in range(0, 300_000, 1000))
    assert 1 not in written
    assert 2_100_007 not in written


def test_thousands_of_small_files_need_few_system_calls_each(tmp_path: Path, root: Path, open_dir: OpenDir) -> None:
    class Counting(Fs):
        calls = 0

        def __getattribute__(self, name: str) -> object:
            if not name.startswith("_") and name != "calls":
                Counting.calls += 1
            return super().__getattribute__(name)

    write = TreeWriter(Counting(), open_dir(tmp_path / "staged"), OWN)
    Counting.calls = 0
    for number in range(100):
        write.add(file(b"d/e/%d" % number, 1), [b"x"])
    assert Counting.calls <= 100 * 8 + 20
    write.close()
