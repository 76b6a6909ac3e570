"""``holdfast notification``: who hears of what fails, and how."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from holdfast.cli import options
from holdfast.cli.output import ago
from holdfast.cli.secret_input import read_secret
from holdfast.cli.session import Session, session_of
from holdfast.domain.notice import MailTls, NoticeKind

_MAX_SECRET: Final = 1024
_MAX_ADDRESS: Final = 2048

Kinds = Annotated[
    list[NoticeKind] | None,
    typer.Option("--kind", help="What is told through it; everything without it. May be repeated."),
]
SecretFile = Annotated[
    str | None,
    typer.Option("--secret-file", help="A file whose first line is the secret or password; - for stdin."),
]


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Who hears of what fails, and how.")
    group.command("list")(list_channels)
    group.command("add-webhook")(add_webhook)
    group.command("add-mail")(add_mail)
    group.command("add-service")(add_service)
    group.command("test")(try_out)
    group.command("remove")(remove)
    return group


def list_channels(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the channels, what waits for them, and why."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/notifications/channels")
    session.output.document(document)
    if not document["items"]:
        session.output.note("There is no channel: nobody is told when something fails.")
        return
    session.output.table(
        ("name", "kind", "to", "tells", "added", "waiting"),
        [
            (
                c["name"],
                c["kind"],
                c["target"],
                ", ".join(c["kinds"]) or "everything",
                ago(c["created_at"]),
                c["waiting"],
            )
            for c in document["items"]
        ],
    )
    for channel in document["items"]:
        if channel["error"]:
            session.output.say(f"{channel['name']}: {channel['error']['message']}")


def add_webhook(
    context: typer.Context,
    name: options.ChannelName,
    url: Annotated[str, typer.Argument(help="Where notices are posted to, as JSON.")],
    kinds: Kinds = None,
    secret_file: SecretFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Add a channel that posts to a webhook, signed if there is a secret."""
    session = session_of(context, as_json=as_json)
    _add(session, name, kinds, "webhook", {"url": url, "secret": read_secret(secret_file, _MAX_SECRET)})


def add_mail(
    context: typer.Context,
    name: options.ChannelName,
    host: Annotated[str, typer.Option("--host", help="The mail server.")],
    sender: Annotated[str, typer.Option("--from", help="Whom the mail is from.")],
    recipients: Annotated[list[str], typer.Option("--to", help="To whom; may be repeated.")],
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Its port.")] = 587,
    tls: Annotated[MailTls, typer.Option("--tls", help="none without a login only.")] = MailTls.STARTTLS,
    username: Annotated[str, typer.Option("--username", help="To log in with.")] = "",
    kinds: Kinds = None,
    secret_file: SecretFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Add a channel that sends mail."""
    session = session_of(context, as_json=as_json)
    body = {
        "host": host,
        "port": port,
        "tls": tls.value,
        "sender": sender,
        "recipients": recipients,
        "username": username,
        "password": read_secret(secret_file, _MAX_SECRET),
    }
    _add(session, name, kinds, "mail", body)


def add_service(
    context: typer.Context,
    name: options.ChannelName,
    address_file: Annotated[
        str,
        typer.Option(
            "--address-file",
            help="A file whose first line is the service's address as Apprise writes it (ntfy://ntfy.sh/my-topic); "
            "- for stdin.",
        ),
    ],
    kinds: Kinds = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Add a channel to one of the services that Apprise knows: Telegram, ntfy, Slack, Discord, Matrix and others."""
    session = session_of(context, as_json=as_json)
    _add(session, name, kinds, "service", {"url": read_secret(address_file, _MAX_ADDRESS)})


def try_out(context: typer.Context, name: options.ChannelName, *, as_json: options.Json = False) -> None:
    """Deliver a notice through a channel, now."""
    session = session_of(context, as_json=as_json)
    session.output.document(session.client.send("POST", f"/api/notifications/channels/{name}/test"))
    session.output.say(f"Delivered through {name}.")


def remove(context: typer.Context, name: options.ChannelName, *, as_json: options.Json = False) -> None:
    """Forget a channel, and what waits for it."""
    session = session_of(context, as_json=as_json)
    session.client.send("DELETE", f"/api/notifications/channels/{name}")
    session.output.document({"removed": name})
    session.output.say(f"Forgot {name}.")


def _add(session: Session, name: str, kinds: list[NoticeKind] | None, place: str, target: dict[str, Any]) -> None:
    body = {"name": name, "kinds": [kind.value for kind in kinds or ()], place: target}
    added = session.client.send("POST", "/api/notifications/channels", document=body)
    session.output.document(added)
    session.output.say(f"Added {name}. Try it: holdfast notification test {name}")
