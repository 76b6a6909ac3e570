"""The command ``holdfast``: all commands put together, and errors turned into messages and exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast import __version__
from holdfast.cli import exit_codes
from holdfast.cli.commands import (
    apply,
    audit,
    backup,
    clone,
    completion,
    deploy,
    deployment,
    disk,
    doctor,
    env,
    health,
    image,
    import_,
    login,
    logs,
    metrics,
    notification,
    operation,
    preview,
    promote,
    recover,
    registry,
    repository,
    restore,
    restore_decision,
    rollback,
    schedule,
    secret,
    serve,
    session,
    snapshot,
    source,
    status,
    support,
    systemd_unit,
    token,
    undo,
    user,
    webhook,
    workload,
)
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.session import Session
from holdfast.domain.errors import HoldfastError


class ReportingGroup(TyperGroup):
    """Runs a command and reports how it failed, if it did."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become a message and an exit code."""
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            session = ctx.obj
            assert isinstance(session, Session)
            session.output.error(error)
            raise typer.Exit(exit_codes.of_error(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.STOPPED) from None


def create_cli(new_session: Callable[[], Session] = lambda: Session(os.environ)) -> typer.Typer:
    """The whole command line.

    Args:
        new_session: makes what one run works with.
    """
    app = typer.Typer(
        name="holdfast",
        cls=ReportingGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "obj": new_session},
        help="Deploys containers, and rolls back their data as safely as their code.",
    )

    @app.callback()
    def _root(
        context: typer.Context,
        url: Annotated[
            str | None, typer.Option("--url", help="The server's address (HOLDFAST_URL; this host by default).")
        ] = None,
        token_file: Annotated[
            str | None,
            typer.Option("--token-file", help="A file that holds a token (HOLDFAST_TOKEN, HOLDFAST_TOKEN_FILE)."),
        ] = None,
        _version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
        ] = False,
    ) -> None:
        session = new_session()
        session.url, session.token_file = url, token_file
        context.obj = session
        context.call_on_close(session.close)

    app.command("apply")(apply.apply)
    app.command("deploy")(deploy.deploy)
    app.command("rollback")(rollback.rollback)
    app.command("promote")(promote.promote)
    app.command("status")(status.status)
    app.command("logs")(logs.logs)
    app.command("metrics")(metrics.metrics)
    app.command("health")(health.health)
    app.command("disk")(disk.disk)
    app.command("restore")(restore.restore)
    app.command("undo")(undo.undo)
    app.command("clone")(clone.clone)
    app.command("restore-decision")(restore_decision.restore_decision)
    app.add_typer(workload.commands(), name="workload")
    app.add_typer(deployment.commands(), name="deployment")
    app.add_typer(image.commands(), name="image")
    app.add_typer(secret.commands(), name="secret")
    app.add_typer(registry.commands(), name="registry")
    app.add_typer(env.commands(), name="env")
    app.add_typer(import_.commands(), name="import")
    app.add_typer(snapshot.commands(), name="snapshot")
    app.add_typer(source.commands(), name="source")
    app.add_typer(operation.commands(), name="operation")
    app.add_typer(repository.commands(), name="repository")
    app.add_typer(schedule.commands(), name="schedule")
    app.add_typer(notification.commands(), name="notification")
    app.add_typer(preview.commands(), name="preview")
    app.add_typer(webhook.commands(), name="webhook")
    app.command("login")(login.login)
    app.command("logout")(login.logout)
    app.command("password")(login.password)
    app.add_typer(user.commands(), name="user")
    app.add_typer(session.commands(), name="session")
    app.add_typer(token.commands(), name="token")
    app.add_typer(audit.commands(), name="audit")
    app.add_typer(backup.commands(), name="backup")
    app.command("doctor")(doctor.doctor)
    app.add_typer(support.commands(), name="support")
    app.command("serve")(serve.serve)
    app.command("recover")(recover.recover)
    app.command("systemd-unit")(systemd_unit.systemd_unit)
    app.command("completion")(completion.completion)
    return app


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the signature that a callback of a flag has
    if wanted:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit(ExitCode.OK)


def main() -> None:
    """The entry point of the command."""
    create_cli()()
