"""Every dialog of the web interface and how it is opened, for the tests and the pictures that look at each.

A dialog is named by its component and the key of its title, as `found` reads both in the interface's source. What it
takes to open one is told in selectors, in English. What few houses have, and what a look must not leave behind, is
answered by `ANSWERS` in place of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from holdfast.api.schemas.accounts import CreatedTokenView, TokensView, TokenView, UsersView, UserView
from holdfast.api.schemas.backups import BackupsView, BackupView
from holdfast.api.schemas.compose import FindingView
from holdfast.api.schemas.containers import ContainersView, ProposedContainerView
from holdfast.api.schemas.errors import ErrorView
from holdfast.api.schemas.notifications import ChannelsView, ChannelView
from holdfast.api.schemas.previews import PreviewsView, PreviewView
from holdfast.api.schemas.registries import RegistriesView, RegistryView
from holdfast.api.schemas.repositories import RepositoriesView, RepositoryView
from holdfast.api.schemas.repository import UnreadableSnapshotView, UnreadableView
from holdfast.api.schemas.restore import PendingDecisionView, PendingView
from holdfast.api.schemas.secrets import SecretsView, SecretView
from holdfast.api.schemas.webhooks import (
    CreatedWebhookView,
    RefusedView,
    WebhookStateView,
    WebhooksView,
    WebhookView,
)
from holdfast.domain.accounts import Role
from holdfast.domain.backup import BackupReason, PassphraseState
from holdfast.domain.compose_findings import FindingKind
from holdfast.domain.notice import ChannelKind, NoticeKind
from holdfast.domain.repository import RepositoryKind
from holdfast.domain.webhook import HookAction, Provider
from holdfast.services.restore_registry import Decision
from holdfast.services.secrets import SecretState

WHEN: Final = "2026-03-01T03:00:00.000000Z"
ID: Final = "01arz3ndektsv4rrffq69g5fav"
WORKLOAD: Final = "the-id-of-the-workload"
"""Stands in `ANSWERS` where the one that is looked at has its own."""
_USED: Final = re.compile(r"<(?:Confirm)?Dialog\s(?P<title>.*?)\b(?:open\b|\{open\})", re.DOTALL)
_KEY: Final = re.compile(r'"([a-z_]+\.[a-z_.]+)"')
_BUILT: Final = frozenset({"ConfirmDialog"})
"""What other dialogs are made of, and what is none without them."""


@dataclass(frozen=True, slots=True)
class Opened:
    """How a dialog is opened.

    Attributes:
        at: the page, by the places ``{workload}`` and ``{snapshot}``.
        steps: what is clicked, one after the other; with a text, what is filled in.
    """

    at: str
    steps: tuple[str | tuple[str, str], ...] = field(default=())


def found(source: Path) -> set[str]:
    """The name of each dialog that the interface in ``source`` uses."""
    names = set()
    for path in source.rglob("*.svelte"):
        if path.stem in _BUILT:
            continue
        for used in _USED.finditer(path.read_text()):
            keys = _KEY.findall(used["title"]) or [""]
            names |= {f"{path.stem} {key}".strip() for key in keys}
    return names


def _button(name: str) -> str:
    return f'role=button[name="{name}"]'


def _label(name: str) -> str:
    return f'label:has-text("{name}") >> input'


def _more(row: str, item: str) -> tuple[str, ...]:
    return (f'tr:has-text("{row}") >> role=button[name=/^More/]', f'role=menuitem[name="{item}"]')


_SNAPSHOTS: Final = "/workloads/{workload}"
_FILES: Final = "/workloads/{workload}/snapshots/{snapshot}"
_DEPLOYMENTS: Final = "/workloads/{workload}/deployments"
_PREVIEWS: Final = "/workloads/{workload}/previews"
_SETTINGS: Final = "/workloads/{workload}/settings"
_SAFETY: Final = "Before a restore"
_BY_HAND: Final = "By hand"

DIALOGS: Final[Mapping[str, Opened]] = {
    "TakeSnapshot snapshots.take": Opened(_SNAPSHOTS, (_button("Take a snapshot"),)),
    "ImportSnapshot import.title": Opened(_SNAPSHOTS, (_button("Import …"),)),
    "RestoreDialog restore.title": Opened(_SNAPSHOTS, ("role=button[name=/^Restore the snapshot/]",)),
    "RestoreDialog restore.undo_title": Opened(_SNAPSHOTS, (_button("Undo the last restore"),)),
    "CloneDialog clone.title": Opened(_SNAPSHOTS, _more(_BY_HAND, "Clone …")),
    "DrillDialog drill.title": Opened(_SNAPSHOTS, _more(_BY_HAND, "Prove that it restores …")),
    "SnapshotDialogs export.title": Opened(_SNAPSHOTS, _more(_BY_HAND, "Export …")),
    "SnapshotDialogs snapshots.verify_of": Opened(_SNAPSHOTS, _more(_BY_HAND, "Verify …")),
    "SnapshotDialogs snapshots.pin_of": Opened(_SNAPSHOTS, _more(_BY_HAND, "Pin")),
    "SnapshotDialogs snapshots.unpin_of": Opened(_SNAPSHOTS, _more(_SAFETY, "Release")),
    "SnapshotDialogs snapshots.delete_of": Opened(_SNAPSHOTS, _more(_BY_HAND, "Delete …")),
    "Unsettled decision.confirm_title": Opened(_SNAPSHOTS, (_button("Keep the restored data …"),)),
    "OperationDialog operation.dialog": Opened("/workloads/{workload}?operation={operation}"),
    "FilePreview": Opened(_FILES, (".file button.name",)),
    "Compare compare.title": Opened(_FILES, (_button("Compare …"),)),
    "Deploy deploy.title": Opened(_DEPLOYMENTS, (_button("Deploy …"),)),
    "Promote promote.title": Opened(_DEPLOYMENTS, (_button("Promote …"),)),
    "Rollback rollback.title": Opened(_DEPLOYMENTS, (_button("Return to it …"),)),
    "MakePreview previews.make": Opened(_PREVIEWS, (_button("Make a preview"),)),
    "MakePreview previews.update_title": Opened(_PREVIEWS, _more("pr-17", "Update …")),
    "RemovePreview previews.remove_title": Opened(_PREVIEWS, _more("pr-17", "Remove …")),
    "Running settings.stop_title": Opened(_SETTINGS, (_button("Stop"),)),
    "Secrets settings.secret_add": Opened(_SETTINGS, (_button("Add a secret"),)),
    "Secrets settings.secret_set_one": Opened(_SETTINGS, ("role=button[name=/^Set /]",)),
    "Secrets settings.remove_one": Opened(_SETTINGS, ('section[aria-labelledby="secrets"] >> text="Remove"',)),
    "Webhooks webhooks.add": Opened(_SETTINGS, (_button("Add a webhook"),)),
    "Webhooks webhooks.made": Opened(_SETTINGS, (_button("Add a webhook"), _button("Make the webhook"))),
    "Webhooks webhooks.remove": Opened(_SETTINGS, ('section[aria-labelledby="webhooks"] >> text="Remove"',)),
    "DeleteWorkload settings.delete_title": Opened(_SETTINGS, (_button("Delete …"),)),
    "FromContainers containers.take": Opened(
        "/new",
        (
            _label("Running containers"),
            ('[placeholder="wiki-db-1, wiki-web-1"]', "wiki"),
            _button("Show the proposal"),
            _button("Take over …"),
        ),
    ),
    "PruneDialog": Opened("/system/repositories", (_button("Prune …"),)),
    "Repositories repository.delete_damaged": Opened(
        "/system/repositories", ("role=button[name=/^Delete the unreadable/]",)
    ),
    "SecondRepositories repositories.add": Opened("/system/repositories", (_button("Add a repository"),)),
    "SecondRepositories repositories.copy_title": Opened("/system/repositories", (_button("Copy"),)),
    "SecondRepositories settings.remove_one": Opened("/system/repositories", (_button("Remove"),)),
    "Backups backups.passphrase": Opened("/system/backups", ("role=button[name=/passphrase$/]",)),
    "Backups backups.restore_title": Opened("/system/backups", (_button("Return to it …"),)),
    "Backups backups.delete_title": Opened("/system/backups", (_button("Remove"),)),
    "Notifications notifications.add": Opened("/system/notifications", (_button("Add a channel"),)),
    "Notifications settings.remove_one": Opened("/system/notifications", (_button("Remove"),)),
    "Registries registries.add": Opened("/system/registries", (_button("Add a login"),)),
    "Registries settings.remove_one": Opened("/system/registries", (_button("Remove"),)),
    "Users users.add": Opened("/system/users", (_button("Add a user"),)),
    "Users users.password_of": Opened("/system/users", (_button("Password …"),)),
    "Users settings.remove_one": Opened("/system/users", (_button("Remove"),)),
    "Tokens tokens.add": Opened("/system/account", (_button("Make a token"),)),
    "Tokens tokens.made": Opened(
        "/system/account", (_button("Make a token"), ("role=dialog >> input", "ci"), _button("Make it"))
    ),
    "Tokens settings.remove_one": Opened("/system/account", (_button("Remove"),)),
}

_TOKEN: Final = TokenView(
    id=ID, user="boris", name="ci of the wiki", role=Role.OPERATOR, scopes=[], created_at=WHEN, expires_at=None
)
_WEBHOOK: Final = WebhookView(
    id=ID,
    workload_id=ID,
    provider=Provider.GITHUB,
    action=HookAction.DEPLOY,
    signed=True,
    branch="",
    tag="",
    repository="team/notes",
    image="",
    image_tag="",
    promote_from="",
    created_at=WHEN,
    created_by="boris",
)
ANSWERS: Final[Mapping[tuple[str, str], BaseModel]] = {
    ("GET", "/api/workloads/*/secrets"): SecretsView(
        items=[SecretView(name="DATABASE_PASSWORD", state=SecretState.NOT_SET, set_at=None)]
    ),
    ("GET", "/api/workloads/*/webhooks"): WebhooksView(
        items=[
            WebhookStateView(
                **_WEBHOOK.model_dump(),
                refused=RefusedView(count=2, last_at=WHEN, last_code="hook_signature_wrong"),
                last=None,
            )
        ]
    ),
    ("POST", "/api/workloads/*/webhooks"): CreatedWebhookView(
        **_WEBHOOK.model_dump(), address="/hooks/0123456789abcdef0123456789abcdef"
    ),
    ("GET", "/api/users"): UsersView(
        items=[UserView(id=ID, name="boris", role=Role.OPERATOR, disabled=False, created_at=WHEN, password_set_at=WHEN)]
    ),
    ("GET", "/api/tokens"): TokensView(items=[_TOKEN]),
    ("POST", "/api/tokens"): CreatedTokenView(**_TOKEN.model_dump(), token="hf_" + "0123456789abcdef" * 3),
    ("GET", "/api/registries"): RegistriesView(
        items=[RegistryView(registry="registry.example.org", username="puller", set_at=WHEN, readable=False)]
    ),
    ("GET", "/api/notifications/channels"): ChannelsView(
        items=[
            ChannelView(
                name="on call",
                kind=ChannelKind.MAIL,
                target="those-who-are-on-call@example.org",
                kinds=[NoticeKind.SNAPSHOT_FAILED, NoticeKind.RESTORE_ENDED],
                created_at=WHEN,
                waiting=2,
                error=ErrorView(
                    code="mail_failed",
                    message="The mail server mail.example.org did not take the mail: the connection was refused.",
                    next_step="Check the server's address, its login, and whether it takes mail from this sender.",
                ),
            )
        ]
    ),
    ("GET", "/api/repositories"): RepositoriesView(
        items=[
            RepositoryView(
                name="elsewhere",
                kind=RepositoryKind.DIRECTORY,
                place="/mnt/another-disk/holdfast",
                repository_id=ID,
                encrypted=True,
                created_at=WHEN,
                access_key_id="",
                region="",
            )
        ]
    ),
    ("GET", "/api/repository/damaged"): UnreadableView(
        items=[
            UnreadableSnapshotView(
                id=ID,
                code="manifest_damaged",
                message="Its manifest isn't what was stored.",
                workload="notes",
                pinned=True,
                safety_for=None,
            )
        ]
    ),
    ("GET", "/api/backups"): BackupsView(
        items=[
            BackupView.model_validate(
                {
                    "id": ID,
                    "created_at": WHEN,
                    "bytes": 4_000_000,
                    "reason": BackupReason.SCHEDULED,
                    "holdfast": "1.0.0",
                    "schema": "0001",
                    "audit_head": "0" * 64,
                }
            )
        ],
        unreadable=["a-file-that-is-none.backup"],
        passphrase=PassphraseState.SET,
    ),
    ("GET", "/api/previews"): PreviewsView(
        items=[
            PreviewView(
                id=ID,
                name="notes-pr-17",
                parent_id=WORKLOAD,
                parent="notes",
                made_for="pr-17",
                image="registry.example.org/team/notes:pr-17",
                deployment=None,
                domains=["notes-pr-17.preview.example.org"],
                seed=None,
                expires_seconds=86_400,
                expires_at=WHEN,
                last_snapshot=True,
                created_at=WHEN,
                created_by="boris",
            )
        ]
    ),
    ("GET", "/api/workloads/*/restore-decision"): PendingView(
        pending=PendingDecisionView(
            restore_id=ID,
            why="its trial was interrupted, and its time is over.",
            problem=ErrorView(
                code="undecided_time_over",
                message="its trial was interrupted, and its time is over.",
                next_step="",
                values={},
            ),
            choices=[Decision.KEEP, Decision.REVERT],
        ),
        kept_trees=[],
    ),
    ("POST", "/api/import/containers"): ContainersView(
        workloads=[
            ProposedContainerView(
                container="wiki",
                container_id="0" * 64,
                name="wiki",
                valid=True,
                declaration={},
                yaml="name: wiki\n",
                findings=[
                    FindingView(
                        kind=FindingKind.LEFT_OUT,
                        path="HostConfig.CapAdd",
                        message="Containers get the engine's usual capabilities.",
                        next_step="Check that the program works without it, or leave it with Compose.",
                        code="import_key_cap_add",
                        values={},
                    )
                ],
            )
        ],
        findings=[],
    ),
}
"""What is answered in place of the server, by method and path."""
