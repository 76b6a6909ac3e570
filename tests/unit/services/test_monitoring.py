"""What other programs are told of this one, and the rules that are ready for them."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from holdfast.api.exposition import exposed
from holdfast.domain.workload import Quiesce
from holdfast.testing.installation import deployed, installation, restore, snapshotted, spec_of, succeeded

RULES = Path(__file__).parents[3] / "docs" / "how-to" / "holdfast.rules.yml"


async def test_operations_downtime_and_what_is_not_protected_are_told_and_rules_name_only_what_is(
    tmp_path: Path,
) -> None:
    place = installation(tmp_path)
    async with place.running() as holdfast:
        workload = await deployed(holdfast)
        (place.volumes / "notes" / "data" / "file").write_bytes(b"x" * 5000)
        snapshot = await snapshotted(holdfast, workload, Quiesce.STOP)
        restored = await succeeded(holdfast, await restore(holdfast, workload, snapshot))
        await deployed(holdfast, spec_of("bare", volumes=()))
        figures = {family.name: family.values for family in await holdfast.api.monitoring.figures()}
        told = exposed(await holdfast.api.monitoring.figures())[0].decode()

    assert figures["holdfast_operations_ended"][("deploy", "succeeded")] == 2
    assert set(figures["holdfast_operations_seconds"]) == {("deploy",), ("snapshot",), ("restore",)}
    assert figures["holdfast_restores_downtime_seconds"] == {(): restored.outcome["downtime_seconds"]}
    assert figures["holdfast_workload_unprotected"] == {("notes",): True, ("bare",): False}
    held, stored = figures["holdfast_snapshots_bytes"], figures["holdfast_snapshots_stored_bytes"]
    assert held["notes",] >= 5000
    assert 0 < stored["notes",] < held["notes",]
    assert figures["holdfast_event_loop_lag_seconds"][()] >= 0

    known = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE))
    rules = YAML(typ="safe").load(RULES.read_text())["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"holdfast_\w+", rule["expr"])}
    samples = {"holdfast_workload_instances"}  # told once there was a sample
    assert named - samples <= known
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in rules)
