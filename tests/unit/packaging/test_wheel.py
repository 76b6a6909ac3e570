"""What is installed from the wheel runs by itself, with nothing of the repository beside it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from holdfast import __version__
from holdfast.config import Settings
from holdfast.store import migrations
from holdfast.store.migrations.upgrade import configuration
from holdfast.testing.installed_wheel import build, install
from holdfast.testing.server_process import PATIENCE, connect, launch

REPOSITORY = Path(__file__).parents[3]
INTERFACE = "src/holdfast/api/interface_files/assets/index.js"

pytestmark = pytest.mark.xdist_group("packaging")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("wheel")
    yield build(REPOSITORY, directory, {INTERFACE: "built\n"})
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Path:
    return install(wheel, REPOSITORY / "requirements.lock", wheel.parent / "environment")


def test_the_wheel_holds_all_that_is_in_the_package_what_was_built_for_it_too(wheel: Path) -> None:
    package = REPOSITORY / "src" / "holdfast"
    there = {str(path.relative_to(package.parent)) for path in package.rglob("*") if path.is_file()}
    expected = {name for name in there if "__pycache__" not in name and "interface_files" not in name}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if name.startswith("holdfast/")}
        assert opened.read(INTERFACE.removeprefix("src/")) == b"built\n"
    assert held == expected | {INTERFACE.removeprefix("src/")}


def test_the_source_distribution_of_which_it_is_built_holds_the_lock_file_too(wheel: Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {INTERFACE, "requirements.lock", "LICENSE", "pyproject.toml"} <= names


def test_it_says_its_version_away_from_the_repository(programs: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [programs / "holdfast", "--version"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"holdfast {__version__}\n", "")


def test_its_server_starts_also_on_the_database_of_the_first_version_and_tells_systemd_when_it_is_ready(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "data", docker_host=f"unix://{tmp_path}/no-engine")
    settings.data_dir.mkdir(mode=0o700)
    settings.installation_file.write_text("")
    with create_engine(f"sqlite:///{settings.database_file}").begin() as connection:
        config = configuration(str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(f"{tmp_path}/notify")
    systemd.settimeout(PATIENCE)
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
    with systemd:
        process = launch(settings, tmp_path / "log", [str(programs / "holdfast"), "serve"])
        try:
            assert systemd.recv(100) == b"READY=1"
            running = connect(process, settings, tmp_path / "log")
            assert running.http.get("/api/version").json()["version"] == __version__
            running.close()
        finally:
            process.kill()
            process.wait()
        assert systemd.recv(100) == b"STOPPING=1"
    assert (settings.data_dir / "state.schema-0001.db").is_file()
