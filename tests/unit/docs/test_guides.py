"""The commands of each guide, run in their order against a real server, as a person would who reads it.

Real are the command line, the server behind it, its database, volumes and snapshots; the engine has no containers.
Only commands of ours are run, and not those of which SCENARIOS says why not. Ids and places that a page shows stand for
those that there are. That every command in the documentation is one that exists is tested beside this.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from holdfast.cli.session import Session
from holdfast.config import Settings
from holdfast.testing.guides import commands_of
from holdfast.testing.server_process import ServerProcess, server
from tests.unit.cli.fake_server import run_as
from tests.unit.docs.guide_scenarios import FILES, SCENARIOS, Scenario

DOCS = Path(__file__).parents[3] / "docs"

FULL_ID = 26
MOST = 0.8

pytestmark = pytest.mark.xdist_group("docs guides")


def first(rules: Mapping[str, Any], line: str) -> Any:
    """What the rule says that has the longest beginning of a line."""
    found = [beginning for beginning in rules if line == beginning or line.startswith(f"{beginning} ")]
    return rules[max(found, key=len)] if found else None


class Reader:
    """Somebody at a shell who reads guides and types what they say."""

    def __init__(self, running: ServerProcess, directory: Path) -> None:
        self.directory = directory
        self._prepared: set[str] = set()
        self.env = {
            "HOLDFAST_URL": str(running.http.base_url),
            "HOLDFAST_DATA_DIR": str(directory / "data"),
            "XDG_CONFIG_HOME": str(directory),
        }

    def follows(self, guide: str, scenario: Scenario) -> int:
        """Run its commands. Returns how many."""
        for name, text in {**FILES, **scenario.files}.items():
            (self.directory / name).write_text(text)
        self._prepare(line for line in scenario.before if line not in self._prepared)
        self._prepared.update(scenario.before)
        if (data := self.directory / "data/volumes/notes/data").is_dir():
            (data / "some/folder").mkdir(parents=True, exist_ok=True)
            (data / "some/folder/file").write_text("kept")
        ran = 0
        for command in commands_of(DOCS / guide):
            if command.arguments is None:
                continue
            line = command.line.removeprefix("holdfast ")
            if first(scenario.not_run, line) is not None:
                continue
            self._prepare(first(scenario.meanwhile, line) or ())
            arguments = [self._real(word) for word in command.arguments]
            self.expect(
                f"{guide}: {line}", arguments, first(scenario.typed, line) or "", first(scenario.fails, line) or 0
            )
            ran += 1
        return ran

    def _prepare(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.expect(line, [self._real(word) for word in line.split()], "", 0)

    def expect(self, line: str, arguments: list[str], typed: str, code: int) -> None:
        done = self._run(arguments, typed)
        assert done.exit_code == code, f"holdfast {line}\n{done.output}"

    def _run(self, arguments: list[str], typed: str) -> Result:
        def new_session() -> Session:
            transport = httpx.HTTPTransport(verify=False)  # to read all authorities each time takes longest of all
            return Session(self.env, transport=transport, interactive=typed != "")

        return run_as(new_session, *arguments, typed=typed)

    def _real(self, word: str) -> str:
        """What is there, for what a page shows in its place."""
        for shown, place in (("/mnt", "mnt"), ("/var/lib/holdfast", "data"), ("/etc", "."), ("/media", "mnt")):
            if word.startswith(f"{shown}/"):
                word = word.replace(shown, str(self.directory / place), 1)
        if re.fullmatch(r"01[0-9a-z]{0,24}…?|ID", word):
            kind = "/api/backups" if len(word) == FULL_ID else "/api/workloads/notes/snapshots"
            return str(self._newest(kind)["id"])
        if word == "SNAPSHOT":
            return str(self._newest("/api/snapshots?workload=notes")["id"])
        if word == "NAME":
            return "notes"
        if word == "REVISION":
            return str(self._asked("/api/workloads/notes")["revision"])
        if word == "WEBHOOK":
            return str(self._newest("/api/workloads/notes/webhooks")["id"])
        if word == "DEPLOYMENT":
            return str(self._newest("/api/workloads/notes/deployments")["id"])
        if re.fullmatch(r"[0-9]+:[0-9a-f]+…", word):
            return str(re.findall(r"[0-9]+:[0-9a-f]{64}", self._run(["audit", "verify"], "").output)[0])
        return word

    def _newest(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(path)["items"][0]
        return found

    def _asked(self, path: str) -> dict[str, Any]:
        session = Session(self.env)
        try:
            answer: dict[str, Any] = session.client.get(path)
            return answer
        finally:
            session.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One for all guides: what an earlier one has begun with is there, and each can be followed without the others."""
    tmp_path = tmp_path_factory.mktemp("reader")
    (tmp_path / "mnt/elsewhere").mkdir(parents=True)
    (tmp_path / "mnt/disk").mkdir()
    settings = Settings(
        data_dir=tmp_path / "data",
        docker_host=f"unix://{tmp_path}/no-engine",
        steady_seconds=0.01,
        disk_reserve_bytes=0,
        disk_reserve_inodes=0,
    )
    with server(settings, tmp_path / "log", (sys.executable, "-m", "holdfast.testing.fake_engine_server")) as running:
        yield Reader(running, tmp_path)
    shutil.rmtree(tmp_path)


def test_every_guide_has_a_scenario() -> None:
    guides = {str(page.relative_to(DOCS)) for page in (*DOCS.glob("how-to/*.md"), *DOCS.glob("tutorial/*.md"))}
    with_commands = {guide for guide in guides if any(each.arguments is not None for each in commands_of(DOCS / guide))}
    assert with_commands == set(SCENARIOS)


@pytest.mark.parametrize("guide", SCENARIOS)
def test_each_guide_can_be_followed(
    guide: str, reader: Reader, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str, int], None]
) -> None:
    monkeypatch.chdir(reader.directory)
    figure("commands of guides run", reader.follows(guide, SCENARIOS[guide]))


def test_most_commands_of_the_guides_are_run() -> None:
    lines = [
        (scenario, command.line.removeprefix("holdfast "))
        for guide, scenario in SCENARIOS.items()
        for command in commands_of(DOCS / guide)
        if command.arguments is not None
    ]
    run = [line for scenario, line in lines if first(scenario.not_run, line) is None]
    assert len(run) > MOST * len(lines)
