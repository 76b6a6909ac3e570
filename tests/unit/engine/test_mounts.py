"""Mounts: read exactly, and found in other namespaces."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast.domain.errors import Failed
from holdfast.engine.fs import Fs
from holdfast.engine.mounts import (
    Mount,
    filesystem_of,
    holders,
    inside_filesystem,
    mount_by_id,
    mount_of,
    mounted_elsewhere,
    mounts_at_or_below,
    namespace_of,
    parse,
    read_own,
)

# Who makes a mount namespace of its own copies all mounts of that moment, and then has mounted what others bind.
pytestmark = pytest.mark.xdist_group("mount namespaces")

SOURCE = Path(holdfast.__file__).parent.parent
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:17 / /srv rw shared:5 master:2 - xfs /dev/sdb1 rw,attr2
31 30 8:1 /var/data /srv/bound rw - ext4 /dev/sda1 rw
32 22 0:50 /@home/x /home\\040of\\011x\\134y rw - btrfs /dev/sdc rw
33 22 0:51 / /srv rw - tmpfs tmpfs rw
"""


def test_lines_are_read_with_their_escapes_and_optional_fields() -> None:
    mounts = parse(MOUNTINFO)
    assert mounts[1] == Mount(id=30, parent_id=22, device="8:17", root="/", mount_point="/srv", type="xfs")
    assert (mounts[3].mount_point, mounts[3].root) == ("/home of\tx\\y", "/@home/x")


def test_mounts_at_and_below_a_path_are_found_and_neighbours_are_not() -> None:
    assert [m.id for m in mounts_at_or_below("/srv", MOUNTINFO)] == [30, 31, 33]
    assert [m.id for m in mounts_at_or_below("/srv/bound", MOUNTINFO)] == [31]
    assert mounts_at_or_below("/srv/bou", MOUNTINFO) == []
    assert len(mounts_at_or_below("/", MOUNTINFO)) == 5


def test_a_path_is_on_the_deepest_and_last_of_its_mounts() -> None:
    assert mount_of("/srv/bound/x", MOUNTINFO).id == 31
    assert mount_of("/srv/x", MOUNTINFO).id == 33
    assert mount_of("/srvx", MOUNTINFO).id == 22
    assert mount_by_id(31, MOUNTINFO) == parse(MOUNTINFO)[2]
    assert mount_by_id(99, MOUNTINFO) is None


def test_a_path_is_translated_to_where_it_is_inside_its_filesystem() -> None:
    mounts = parse(MOUNTINFO)
    assert inside_filesystem("/srv/bound/x", mounts) == ("8:1", "/var/data/x")
    assert inside_filesystem("/srv/bound", mounts) == ("8:1", "/var/data")
    assert inside_filesystem("/home of\tx\\y/z", mounts) == ("0:50", "/@home/x/z")
    assert inside_filesystem("/etc", mounts) == ("8:1", "/etc")


def test_a_mount_elsewhere_of_what_lies_in_a_directory_is_found() -> None:
    found = mounted_elsewhere("/var", MOUNTINFO)
    assert found is not None
    assert found.mount_point == "/srv/bound"
    assert mounted_elsewhere("/var/data", MOUNTINFO) is None, "the directory itself, which stays"
    assert mounted_elsewhere("/va", MOUNTINFO) is None
    inside = "34 22 8:1 /etc/x /etc/y rw - ext4 /dev/sda1 rw\n"
    gone = "35 22 8:1 /etc/x//deleted /mnt rw - ext4 /dev/sda1 rw\n"
    assert mounted_elsewhere("/etc", MOUNTINFO + inside + gone) is None


def test_the_filesystem_of_a_descriptor_is_named_for_people(fs: Fs, tmpfs: Callable[..., Path]) -> None:
    at = tmpfs()
    fd = fs.open_root(str(at))
    assert filesystem_of(fs, fd) == f"tmpfs at {at}"
    fs.close(fd)
    assert mounts_at_or_below(str(at), read_own(fs))


def test_a_mount_point_that_is_no_text_is_told_as_text_and_compared_as_it_is() -> None:
    (mount,) = parse("36 22 0:52 / /srv/\udcff\\012x rw - tmpfs tmpfs rw\n")
    assert mount.shown == "/srv/\\xff\\nx"
    assert mounts_at_or_below("/srv/\udcff\nx", "36 22 0:52 / /srv/\udcff\\012x rw - tmpfs tmpfs rw\n") == [mount]


@contextmanager
def other_namespace(script: str) -> Iterator[int]:
    """A process in a mount namespace of its own that has run ``script`` and stays until the end of the block."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{script}\necho ready\nread line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize("held", ["volume", "volume/below", "."])
def test_a_process_elsewhere_that_has_the_path_or_its_surroundings_mounted_is_found(
    fs: Fs, tmp_path: Path, held: str
) -> None:
    (tmp_path / "volume" / "below").mkdir(parents=True)
    (tmp_path / "point").mkdir()
    with other_namespace(f"mount --bind '{tmp_path / held}' '{tmp_path}/point'") as pid:
        (found,) = holders(fs, [str(tmp_path / "volume"), str(tmp_path / "point")][:1])
    assert (found.pid, found.command) == (pid, "sh")
    assert found.path == str(tmp_path / "volume")
    assert found.mount_point == str(tmp_path / "point")
    assert not holders(fs, [str(tmp_path / "volume")])


def test_a_process_whose_name_is_no_text_is_told_as_text(fs: Fs, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    with other_namespace(f"mount --bind '{tmp_path}/volume' /mnt; printf '\\377\\033' > /proc/self/comm"):
        (found,) = holders(fs, [str(tmp_path / "volume")])
    assert found.command == "\\xff\\x1b"


def test_whose_namespace_it_was_is_told_also_when_the_process_is_gone(fs: Fs, tmp_path: Path) -> None:
    """A command that ran in a container, with a lower process id than the container's own, must not be a stranger."""
    (tmp_path / "volume").mkdir()
    with other_namespace(f"mount --bind '{tmp_path}/volume' /mnt") as pid:
        namespace = namespace_of(pid)
        (found,) = holders(fs, [str(tmp_path / "volume")])
    assert namespace_of(pid) is None
    assert found.namespace == namespace


def test_a_namespace_that_only_sees_the_same_disks_holds_nothing(fs: Fs, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "neighbour").mkdir()
    with other_namespace(f"mount --bind '{tmp_path}/neighbour' /mnt"):
        assert holders(fs, [str(tmp_path / "volume")]) == []


def test_a_mount_point_that_a_system_service_sees_at_its_place_is_not_held_and_one_mounted_elsewhere_is(
    fs: Fs, tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    volume = tmpfs(at=tmp_path / "volume")
    with other_namespace("true"):
        assert holders(fs, [str(volume)]) == []
    with other_namespace(f"mount --bind '{volume}' /mnt") as pid:
        (found,) = holders(fs, [str(volume)])
    assert (found.pid, found.mount_point) == (pid, "/mnt")


def test_a_mount_point_that_is_at_the_same_place_below_another_root_is_held(
    fs: Fs, tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    volume = tmpfs(at=tmp_path / "volume")
    root = tmpfs(at=tmp_path / "root")
    inside = root / str(volume).lstrip("/")
    inside.mkdir(parents=True)
    (root / "old").mkdir()
    script = (
        f"mount --bind '{volume}' '{inside}'; for each in bin lib lib64 usr; do "
        f"mkdir -p '{root}/'$each; mount --bind /$each '{root}/'$each; done; "
        f"cd '{root}'; cp /bin/busybox .; pivot_root . old; /busybox umount -l /old"
    )
    with other_namespace(script) as pid:
        (found,) = holders(fs, [str(volume)])
    assert (found.pid, found.mount_point) == (pid, str(volume))


def test_a_process_that_is_hidden_for_a_moment_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    hidden: list[bytes] = []

    class HiddenOnce(Fs):
        def readlinkat(self, dirfd: int, name: bytes) -> bytes:
            if name in hidden:
                hidden.remove(name)
                raise PermissionError(13, "Permission denied")
            return super().readlinkat(dirfd, name)

    with other_namespace(f"mount --bind '{tmp_path}/volume' /mnt") as pid:
        hidden.append(b"%d/ns/mnt" % pid)
        (found,) = holders(HiddenOnce(), [str(tmp_path / "volume")], patience=30.0)
    assert (found.pid, hidden) == (pid, [])


def test_a_process_that_is_hidden_can_not_be_ruled_out() -> None:
    class Hidden(Fs):
        def readlinkat(self, dirfd: int, name: bytes) -> bytes:
            if name != b"self/ns/mnt":
                raise PermissionError(13, "Permission denied")
            return super().readlinkat(dirfd, name)

    with pytest.raises(Failed) as caught:
        holders(Hidden(), ["/srv"], patience=0.0)
    assert caught.value.code == "permission_denied"


def test_in_a_container_the_host_and_its_services_hold_nothing_and_a_mount_elsewhere_is_found(
    tmp_path: Path, tmpfs: Callable[..., Path]
) -> None:
    """Seen from below another root, as from a container with the host's processes and the volumes' paths."""
    volumes = tmpfs(at=tmp_path / "volumes")
    (volumes / "notes").mkdir()
    root = tmpfs(at=tmp_path / "root")
    places = [*map(Path, ("/bin", "/lib", "/lib64", "/usr", "/proc", "/sys")), tmp_path]
    places += [Path(name) for name in dict.fromkeys((sys.base_prefix, sys.prefix, str(SOURCE)))]
    binds = "".join(
        f"mkdir -p '{root}{place}'; mount --rbind '{place}' '{root}{place}'; " for place in places if place.exists()
    )
    look = (
        "import sys; from holdfast.engine.fs import Fs; from holdfast.engine.mounts import holders; "
        "print([(each.pid, each.mount_point) for each in holders(Fs(), sys.argv[1:])])"
    )
    script = f"{binds} mkdir -p '{root}/old'; cd '{root}'; pivot_root . old; umount -l /old; exec \"$@\""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", sys.executable, "-c", look]
    paths = [str(volumes), str(volumes / "notes")]

    def found() -> str:
        done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with other_namespace("true"):
        assert found() == "[]"
    with other_namespace(f"mount --bind '{volumes}/notes' /mnt") as pid:
        assert found() == repr([(pid, "/mnt"), (pid, "/mnt")])
