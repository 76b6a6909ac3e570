"""Whether the engine has the same directories at the same paths as Holdfast."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.bootstrap.engine_view import require_same_paths
from holdfast.config import Settings
from holdfast.domain.errors import Refused

# Who makes a mount namespace of its own copies all mounts of that moment, and then has mounted what others bind.
pytestmark = pytest.mark.xdist_group("mount namespaces")

LISTENER = """
import socket, sys
line = socket.socket(socket.AF_UNIX)
line.bind(sys.argv[1])
line.listen()
print("ready", flush=True)
sys.stdin.readline()
"""
CHECK = """
import pathlib, sys
from holdfast.bootstrap.engine_view import require_same_paths
from holdfast.config import Settings
from holdfast.domain.errors import Refused
try:
    require_same_paths(Settings(data_dir=pathlib.Path(sys.argv[1]), docker_host=f"unix://{sys.argv[2]}"))
except Refused as refused:
    print(refused.code)
"""
UNSHARE = ("unshare", "--mount", "--propagation", "private")


@contextmanager
def engine(address: Path, *, script: str = "true", around: Sequence[str] = UNSHARE) -> Iterator[None]:
    """A process that listens, in a mount namespace in which ``script`` has run."""
    python = f'exec {sys.executable} -c "$0" "$1"'
    command = [*around, "sh", "-ec", f"{script}\n{python}", LISTENER, str(address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.stdin.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    host = tmp_path / "host"
    for name in ("data", "volumes", "srv"):
        (host / name).mkdir(parents=True)
    return Settings(
        data_dir=host / "data",
        volumes_base=host / "volumes",
        allowed_roots=(host / "srv",),
        docker_host=f"unix://{tmp_path}/socket",
    )


def test_the_same_directories_are_fine_and_so_is_one_that_is_not_there_yet(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "host/srv").rmdir()
    with engine(tmp_path / "socket"):
        require_same_paths(settings)


def test_each_directory_that_is_another_one_for_the_engine_is_named(settings: Settings, tmp_path: Path) -> None:
    host = tmp_path / "host"
    script = f"mount -t tmpfs tmpfs '{host}/volumes'; mount --bind '{host}/data' '{host}/srv'"
    with engine(tmp_path / "socket", script=script), pytest.raises(Refused) as caught:
        require_same_paths(settings)
    assert {problem.code for problem in caught.value.problems} == {"path_differs_for_engine"}
    paths = [problem.details["path"] for problem in caught.value.problems]
    assert paths == [f"{host}/volumes", f"{host}/srv"]
    assert f"-v {host}/srv:{host}/srv" in caught.value.problems[1].next_step


def test_a_directory_that_the_engine_does_not_have_at_all_is_named_also_before_it_is_made(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "host/srv").rmdir()
    with (
        engine(tmp_path / "socket", script=f"mount -t tmpfs tmpfs '{tmp_path}/host'"),
        pytest.raises(Refused) as caught,
    ):
        require_same_paths(settings)
    assert len(caught.value.problems) == 3


def test_an_engine_whose_process_is_hidden_is_refused(settings: Settings, tmp_path: Path) -> None:
    apart = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", CHECK]
    with engine(tmp_path / "socket"):
        done = subprocess.run(
            [*apart, str(settings.data_dir), f"{tmp_path}/socket"], capture_output=True, text=True, check=True
        )
    assert done.stdout == "engine_not_visible\n"


@pytest.mark.parametrize("address", ["unix://{}/none", "tcp://127.0.0.1:1", "unix://{}/silent"])
def test_an_engine_that_is_away_or_on_another_machine_is_waited_for(address: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/silent")
        require_same_paths(Settings(data_dir=tmp_path, docker_host=address.format(tmp_path)))
