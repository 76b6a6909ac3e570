"""Backups of Holdfast's own state, on the wire. A passphrase comes in and never goes out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from holdfast.domain.backup import BackupReason, KeptBackups, PassphraseState
from holdfast.services.backup_passphrase import MAX_PASSPHRASE

Passphrase = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSPHRASE, json_schema_extra={"writeOnly": True})]


class BackupView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    created_at: str
    bytes: int
    reason: Annotated[BackupReason, Field(description="Only scheduled ones are deleted by themselves.")]
    holdfast: Annotated[str, Field(description="The version that made it.")]
    schema_: Annotated[str, Field(alias="schema", validation_alias="schema", description="Of the database in it.")]
    audit_head: Annotated[str, Field(description="Where the audit log ended.")]


class BackupsView(BaseModel):
    items: list[BackupView]
    unreadable: Annotated[list[str], Field(description="Files that are no backups, or damaged.")]
    passphrase: PassphraseState

    @classmethod
    def of(cls, kept: KeptBackups, passphrase: PassphraseState) -> BackupsView:
        """The view of all of them."""
        return cls(
            items=[BackupView.model_validate(backup) for backup in kept.backups],
            unreadable=list(kept.unreadable),
            passphrase=passphrase,
        )


class PassphraseBody(BaseModel, extra="forbid"):
    passphrase: Annotated[Passphrase, Field(description="Of at least 12 characters. Never shown again.")]


class BackupPassphraseBody(BaseModel, extra="forbid"):
    passphrase: Annotated[
        Passphrase | None, Field(description="The backup's own, where it is not the one that is set now.")
    ] = None

    @property
    def plain(self) -> str | None:
        """It, to be used."""
        return None if self.passphrase is None else self.passphrase.get_secret_value()
