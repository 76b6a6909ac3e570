"""The whole way on a real engine: a version that ruins its SQLite data and is healthy on what it left of it.

The person returns to before: the version of before runs, on the data of before, to its last row. And forward again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import OperationState
from holdfast.domain.workload import HealthCheck, HealthType, RestartPolicy, Scope, Volume, WorkloadSpec
from holdfast.testing.images import build_image
from holdfast.testing.installation import deployed, ended, succeeded, undone
from tests.integration.engine_bench import PATIENT, DockerPlace, the_one_running, until

ONE, TWO = "holdfast-test/ledger:1", "holdfast-test/ledger:2"
DATABASE = "/data/ledger.db"
WRITER = """
sql() {{ sqlite3 -cmd '.timeout 20000' {database} "$1"; }}
trap 'exit 0' TERM
sql "SELECT {column} FROM entries LIMIT 0" || sql "PRAGMA journal_mode=WAL; {schema}" || exit 1
while :; do
  sql "INSERT INTO entries ({column}) VALUES ('{said}')" || exit 1
  sleep 0.1 & wait $!
done
"""
"""Migrates the database once, and writes one row after the other."""
FIRST = WRITER.format(
    database=DATABASE,
    schema="CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, said TEXT NOT NULL)",
    column="said",
    said="good",
)
MIGRATION = (
    "ALTER TABLE entries RENAME COLUMN said TO text; DELETE FROM entries WHERE id % 2 = 0; UPDATE entries SET text = ''"
)
SECOND = WRITER.format(database=DATABASE, schema=MIGRATION, column="text", said="garbage")


def ledger(image: str, column: str) -> WorkloadSpec:
    """A workload that is healthy while it can read what it wrote."""
    reads = ("sh", "-c", f"sqlite3 -cmd '.timeout 20000' {DATABASE} 'SELECT {column} FROM entries' | grep -q .")
    return WorkloadSpec(
        name="ledger",
        image=image,
        project="house",
        volumes=(Volume(target="/data", scope=Scope.STAGE, source="data"),),
        health=HealthCheck(
            type=HealthType.COMMAND,
            command=reads,
            interval=PATIENT.interval,
            timeout=PATIENT.timeout,
            deadline=PATIENT.deadline,
        ),
        restart=RestartPolicy.ALWAYS,
        stop_grace=30.0,
    )


@pytest.fixture
async def place(tmp_path: Path, docker_host: str) -> AsyncIterator[DockerPlace]:
    await build_image(docker_host, ONE, script=FIRST, programs=["sqlite3"])
    await build_image(docker_host, TWO, script=SECOND, programs=["sqlite3"])
    place = DockerPlace(directory=tmp_path, docker_host=docker_host)
    yield place
    await place.clean()


async def ask(holdfast: Holdfast, workload_id: str, query: str) -> str:
    """What the database says, asked where its program runs."""
    running = await the_one_running(holdfast, workload_id)
    answer = await holdfast.runtime.exec(running.id, ["sqlite3", "-cmd", ".timeout 20000", DATABASE, query], 30.0)
    assert answer.code == 0, answer.output
    return answer.output.strip()


async def image_of(holdfast: Holdfast, workload_id: str) -> str:
    image = await holdfast.runtime.image((await the_one_running(holdfast, workload_id)).image_id)
    assert image is not None
    return next(tag for tag in image.tags if "ledger" in tag)


async def test_after_a_bad_migration_version_and_data_return_together_and_go_forward_again(place: DockerPlace) -> None:
    async with place.running() as holdfast:
        workload = await deployed(holdfast, ledger(ONE, "said"))

        async def written() -> bool:
            return int(await ask(holdfast, workload.id, "SELECT count(*) FROM entries")) >= 4

        await until(written)
        written_before = int(await ask(holdfast, workload.id, "SELECT max(id) FROM entries"))
        await holdfast.api.workloads.apply(ledger(TWO, "text"), actor="test")
        deployment = await succeeded(holdfast, await holdfast.api.deployer.deploy("ledger", actor="test"))
        assert deployment.outcome["result"] == "deployed", "the migration is bad, and yet healthy"
        assert await ask(holdfast, workload.id, "SELECT count(*) FROM entries WHERE text = 'good'") == "0"

        found = await holdfast.api.data_rollbacks.plan("ledger", None)
        assert (found.plan.rollback.to.spec.image, found.snapshot.id) == (ONE, deployment.outcome["snapshot_id"])
        back = await holdfast.api.data_rollbacks.rollback(
            "ledger", found.plan.rollback.to.id, confirm=found.snapshot.id, dry_run=False, actor="test"
        )
        end = await ended(holdfast, back)
        assert (end.state, end.outcome.get("result")) == (OperationState.SUCCEEDED, "restored"), end.error
        assert await image_of(holdfast, workload.id) == ONE
        assert await ask(holdfast, workload.id, "PRAGMA integrity_check") == "ok"
        good = "SELECT count(*) = max(id) AND min(said) = 'good' AND max(id) >= {} FROM entries"
        assert await ask(holdfast, workload.id, good.format(written_before)) == "1", "every row, and only those"
        assert (await holdfast.api.workloads.get("ledger")).spec == ledger(ONE, "said")

        await undone(holdfast, workload)
        assert await image_of(holdfast, workload.id) == TWO
        assert await ask(holdfast, workload.id, "SELECT count(*) FROM entries WHERE text = 'good'") == "0"
        assert (await holdfast.api.workloads.get("ledger")).spec == ledger(TWO, "text")
        await holdfast.reaper.idle()
    assert place.leftovers() == []
