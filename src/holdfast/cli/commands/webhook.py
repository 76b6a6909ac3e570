"""``holdfast webhook``: addresses that others post to, so that a workload is deployed."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.output import ago
from holdfast.cli.secret_input import read_secret
from holdfast.cli.session import session_of
from holdfast.domain.webhook import HookAction, Provider

_MAX_SECRET: Final = 514

Webhook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id.", callback=options.identifier)]
DeliveryArgument = Annotated[
    str, typer.Argument(metavar="DELIVERY", help="The delivery's id.", callback=options.identifier)
]


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Addresses that others post to, so that a workload is deployed.")
    group.command("create")(create)
    group.command("list")(list_webhooks)
    group.command("show")(show)
    group.command("delete")(delete)
    group.command("deliveries")(deliveries)
    group.command("replay")(replay)
    return group


def create(
    context: typer.Context,
    workload: options.WorkloadName,
    provider: Annotated[Provider, typer.Option("--provider", help="Who posts; gitea is for Forgejo, too.")],
    secret_file: Annotated[
        str | None,
        typer.Option("--secret-file", help="A file whose first line is the secret that requests prove; - for stdin."),
    ] = None,
    branch: Annotated[str, typer.Option("--branch", help="Pattern of branches; the default branch.")] = "",
    tag: Annotated[
        str, typer.Option("--tag", help="Pattern of tags, of code and of images; the tag that the workload runs.")
    ] = "",
    repository: Annotated[str, typer.Option("--repository", help="Pattern of the code's repository, owner/name.")] = "",
    image: Annotated[
        str, typer.Option("--image", help="Deploy from this image repository, not from the workload's own.")
    ] = "",
    image_tag: Annotated[
        str,
        typer.Option(
            "--image-tag",
            help="The image's tag for a push of code, with {branch}, {tag}, {sha}, {short_sha}, {pull} filled in.",
        ),
    ] = "",
    promote_from: Annotated[
        str,
        typer.Option(
            "--promote-from",
            help="Do not deploy, but promote what this workload runs.",
            callback=lambda text: options.name(text or None) or "",
        ),
    ] = "",
    *,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Do not deploy, but make previews: of the branches that --branch names, or pull requests."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a webhook. Its address is shown this once."""
    session = session_of(context, as_json=as_json)
    if preview and promote_from:
        raise typer.BadParameter("One webhook does one thing: --preview or --promote-from.")
    action = HookAction.PREVIEW if preview else HookAction.PROMOTE if promote_from else HookAction.DEPLOY
    body = {
        "provider": provider.value,
        "action": action.value,
        "secret": read_secret(secret_file, _MAX_SECRET),
        "branch": branch,
        "tag": tag,
        "repository": repository,
        "image": image,
        "image_tag": image_tag,
        "promote_from": promote_from,
    }
    made = session.client.send("POST", f"/api/workloads/{workload}/webhooks", document=body)
    session.output.document(made)
    session.output.say(f"Made the webhook {made['id']}. It is posted to at this address, which is not shown again:")
    session.output.say(f"{session.client.url}{made['address']}")
    session.output.note("Whoever knows the address can use it. From elsewhere, it is reached through your TLS proxy.")


def list_webhooks(context: typer.Context, workload: options.WorkloadName, *, as_json: options.Json = False) -> None:
    """List a workload's webhooks, and what came in last."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/workloads/{workload}/webhooks")
    session.output.document(document)
    session.output.table(
        ("id", "provider", "does", "secret", "filters", "last", "refused"),
        [
            (w["id"], w["provider"], w["action"], "yes" if w["signed"] else "no", _filters(w), _last(w), _refused(w))
            for w in document["items"]
        ],
    )


def show(
    context: typer.Context, workload: options.WorkloadName, webhook: Webhook, *, as_json: options.Json = False
) -> None:
    """Show a webhook. Its address and its secret are not shown again."""
    session = session_of(context, as_json=as_json)
    found = session.client.get(f"/api/workloads/{workload}/webhooks/{webhook}")
    session.output.document(found)
    session.output.facts(
        [
            ("webhook", found["id"]),
            ("provider", found["provider"]),
            ("does", found["action"]),
            ("promotes from", found["promote_from"] or "–"),
            ("secret", "yes" if found["signed"] else "no: whoever knows the address can use it"),
            ("filters", _filters(found)),
            ("made", f"{ago(found['created_at'])} by {found['created_by']}"),
            ("last delivery", _last(found)),
            ("refused", _refused(found)),
        ],
    )


def delete(
    context: typer.Context, workload: options.WorkloadName, webhook: Webhook, *, as_json: options.Json = False
) -> None:
    """Forget a webhook, and what came in through it. What was deployed stays."""
    session = session_of(context, as_json=as_json)
    session.client.send("DELETE", f"/api/workloads/{workload}/webhooks/{webhook}")
    session.output.document({"deleted": webhook})
    session.output.say(f"Forgot the webhook {webhook}.")


def deliveries(
    context: typer.Context,
    workload: options.WorkloadName,
    webhook: Webhook,
    limit: options.Limit = 20,
    *,
    as_json: options.Json = False,
) -> None:
    """List what came in through a webhook, and what became of it, newest first."""
    session = session_of(context, as_json=as_json)
    document = session.client.get(f"/api/workloads/{workload}/webhooks/{webhook}/deliveries", limit=limit)
    session.output.document(document)
    session.output.table(
        ("id", "received", "event", "state", "operation", "why"),
        [
            (d["id"], ago(d["received_at"]), d["event"]["message"], d["state"], d["operation_id"] or "–", _why(d))
            for d in document["items"]
        ],
    )


def replay(
    context: typer.Context,
    workload: options.WorkloadName,
    webhook: Webhook,
    delivery: DeliveryArgument,
    *,
    as_json: options.Json = False,
) -> None:
    """Have a delivery applied once more, as a new one."""
    session = session_of(context, as_json=as_json)
    again = session.client.send("POST", f"/api/workloads/{workload}/webhooks/{webhook}/deliveries/{delivery}/replay")
    session.output.document(again)
    why = f": {again['message']}" if again["message"] else ""
    session.output.say(f"It is the delivery {again['id']} now ({again['state']}{why}).")


def _filters(webhook: dict[str, Any]) -> str:
    names = ("repository", "branch", "tag", "image", "image_tag")
    return ", ".join(f"{name} {webhook[name]}" for name in names if webhook[name]) or "–"


def _last(webhook: dict[str, Any]) -> str:
    last = webhook["last"]
    return f"{ago(last['received_at'])}: {last['state']}" if last else "–"


def _refused(webhook: dict[str, Any]) -> str:
    refused = webhook["refused"]
    return f"{refused['count']}, {ago(refused['last_at'])}: {refused['last_code']}" if refused["count"] else "–"


def _why(delivery: dict[str, Any]) -> str:
    code = delivery["code"] if delivery["state"] == "failed" else ""
    return ": ".join(part for part in (code, delivery["message"]) if part) or "–"
