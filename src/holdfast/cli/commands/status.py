"""``holdfast status``: how workloads are doing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import completions, options
from holdfast.cli.commands.schedule import in_brief, trouble
from holdfast.cli.listing import every_page
from holdfast.cli.output import Output, ago, exact, failure_lines
from holdfast.cli.safety import safety_in_words
from holdfast.cli.session import session_of


def status(
    context: typer.Context,
    workload: Annotated[
        str | None,
        typer.Argument(
            help="One workload's name or id; all without it.",
            callback=options.name,
            autocompletion=completions.workloads,
        ),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show how a workload is doing, or all of them."""
    session = session_of(context, as_json=as_json)
    client, output = session.client, session.output
    if workload is not None:
        document = client.get(f"/api/workloads/{workload}/status")
        output.document(document)
        describe(output, document)
        return
    found = [client.get(f"/api/workloads/{w['id']}/status") for w in every_page(client, "/api/workloads")]
    output.document({"items": found})
    output.table(
        ("name", "condition", "desired", "instances", "image", "last deployment", "snapshots", "busy with"),
        [
            (
                s["name"],
                s["condition"],
                s["desired"],
                len(s["instances"]),
                s["image"],
                last_deployment(s),
                in_brief(s["schedule"]),
                s["busy"] or "",
            )
            for s in found
        ],
    )


def describe(output: Output, document: dict[str, Any]) -> None:
    """One workload's status, in full."""
    output.facts(
        [
            ("workload", document["name"]),
            ("condition", document["condition"]),
            ("desired", document["desired"]),
            ("image", document["image"]),
            ("digest", document["deployed"]["digest"] if document["deployed"] else None),
            ("last deployment", last_deployment(document)),
            ("snapshots", in_brief(document["schedule"])),
            ("next snapshot", exact(document["schedule"]["next_at"]) if document["schedule"] else None),
            ("busy with", document["busy"]),
            ("engine", _words(document["engine_problem"])),
            ("domains", ", ".join(document["domains"])),
            ("edge", _words(document["edge_problem"])),
        ]
    )
    for line in trouble(document["schedule"]) if document["schedule"] else ():
        output.say(f"snapshots: {line}")
    if document["undecided"]:
        output.say(f"A restore waits for your decision: {document['undecided']}")
        output.say(f"Decide with: holdfast restore-decision {document['name']} keep|revert")
    deployment = document["last_deployment"]
    if deployment is not None and deployment["state"] == "failed" and (error := deployment["error"]):
        for line in failure_lines(error["message"], error["next_step"], error["details"]):
            output.say(line)
    if document["returned"]:
        output.say(document["returned"]["words"])
    for difference in document["differences"]:
        output.say(f"not as deployed: {difference['message']}")
    for change in document["pending"]:
        output.say(f"not deployed yet: {change['path']}")
    for line in safety_in_words(document["name"], document["safety_snapshots"]):
        output.say(line)
    if document["instances"]:
        output.table(
            ("instance", "state", "health", "restarts", "started"),
            [
                (i["name"], i["state"], i["health"], i["restart_count"], ago(i["started_at"]))
                for i in document["instances"]
            ],
        )


def last_deployment(document: dict[str, Any]) -> str:
    """How the newest attempt stands, and since when."""
    deployment = document["last_deployment"]
    if deployment is None:
        return "never"
    return f"{deployment['state']} {ago(deployment['finished_at'] or deployment['started_at'])}"


def _words(problem: dict[str, Any] | None) -> str | None:
    return None if problem is None else str(problem["message"])
