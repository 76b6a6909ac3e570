"""``holdfast user``: who may get in, and what they may do."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import options
from holdfast.cli.commands.serve import Config, DataDir, settings_from
from holdfast.cli.confirm import confirm_by_name
from holdfast.cli.output import ago, both
from holdfast.cli.secret_input import ask_password
from holdfast.cli.session import session_of
from holdfast.domain.accounts import Role


def commands() -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Who may get in, and what they may do.")
    group.command("list")(list_users)
    group.command("create")(create)
    group.command("change")(change)
    group.command("set-password")(set_password)
    group.command("sign-out")(sign_out)
    group.command("remove")(remove)
    group.command("recover")(recover)
    return group


def list_users(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List the users."""
    session = session_of(context, as_json=as_json)
    document = session.client.get("/api/users")
    session.output.document(document)
    session.output.table(
        ("name", "role", "state", "made", "password set"),
        [
            (
                user["name"],
                user["role"],
                "disabled" if user["disabled"] else "enabled",
                ago(user["created_at"]),
                both(user["password_set_at"]),
            )
            for user in document["items"]
        ],
    )


def create(
    context: typer.Context,
    name: options.UserName,
    role: Annotated[Role, typer.Option("--role", help="What the user may do.")],
    password_file: options.PasswordFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Make a user. The password is asked for, or read from a file or stdin.

    The first token of a server makes its first admin, and ends with that.
    """
    session = session_of(context, as_json=as_json)
    secret = ask_password(session, f"Password of {name}", password_file, new=True)
    document = {"name": name, "password": secret, "role": role.value}
    made = session.client.send("POST", "/api/users", document=document)
    session.output.document(made)
    session.output.say(f"Made {made['name']} ({made['role']}). To sign in: holdfast login --username {made['name']}")


def change(
    context: typer.Context,
    name: options.UserName,
    role: Annotated[Role | None, typer.Option("--role", help="What the user may do from now on.")] = None,
    *,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether nobody gets in as this user.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Change a user's role, disable or enable them: at once, also for their tokens."""
    session = session_of(context, as_json=as_json)
    document = {"role": role.value if role is not None else None, "disabled": disabled}
    changed = session.client.send("PATCH", f"/api/users/{name}", document=document)
    session.output.document(changed)
    session.output.say(f"{name} is {changed['role']}{', and disabled' if changed['disabled'] else ''}.")


def set_password(
    context: typer.Context,
    name: options.UserName,
    password_file: options.PasswordFile = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Give a user another password. All of their sessions end."""
    session = session_of(context, as_json=as_json)
    document = {"password": ask_password(session, f"New password of {name}", password_file, new=True)}
    session.output.document(session.client.send("PUT", f"/api/users/{name}/password", document=document))
    session.output.say(f"{name} has another password, and is signed out everywhere.")


def sign_out(context: typer.Context, name: options.UserName, *, as_json: options.Json = False) -> None:
    """Sign a user out everywhere. Their tokens go on."""
    session = session_of(context, as_json=as_json)
    ended = session.client.send("DELETE", "/api/sessions", params={"user": name})
    session.output.document(ended)
    session.output.say(f"Ended {ended['ended']} sessions of {name}.")


def remove(
    context: typer.Context, name: options.UserName, *, yes: options.Yes = False, as_json: options.Json = False
) -> None:
    """Remove a user, with their sessions and tokens. What they did stays on record."""
    session = session_of(context, as_json=as_json)
    confirm_by_name(session, name, f"This removes {name}, and every token that acts as {name}.", yes=yes)
    session.client.send("DELETE", f"/api/users/{name}")
    session.output.document({"removed": name})
    session.output.say(f"Removed {name}.")


def recover(
    context: typer.Context,
    config: Config = None,
    data_dir: DataDir = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Make a new first token, where no admin can get in any more. On the server's host, while it is stopped.

    It ends as soon as an admin was made with it, or got a new password.
    """
    session = session_of(context, as_json=as_json)
    settings = settings_from(session, config, data_dir)

    from holdfast.bootstrap import first_token  # a part of the server: loaded only by the commands that need it

    first_token.renew_first_token(settings)
    session.output.document({"file": str(settings.admin_token_file)})
    session.output.say(
        f"Wrote {settings.admin_token_file}. Start the server, then: "
        f"holdfast --token-file {settings.admin_token_file} user set-password NAME"
    )
