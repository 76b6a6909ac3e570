"""The tables. ``migrations`` builds exactly these; a test compares the two.

Only types that SQLite and PostgreSQL share. Times are RFC 3339 text with microseconds, ids sort by time, records that
nothing queries by are JSON text (:mod:`holdfast.store.codec`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

workloads: Final = Table(
    "workloads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("spec", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("configured_at", Text),
    Column("configured_by", Text),
)

deployments: Final = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("image_id", Text, nullable=False),
    Column("digest", Text),
    Column("operation_id", Text),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("error", Text),
    Column("snapshot_id", Text),
    Index(None, "workload_id", "id"),
    Index(None, "state"),
)

operations: Final = Table(
    "operations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("workload_id", Text),
    Column("actor", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("created_at", Text, nullable=False),
    Column("started_at", Text),
    Column("finished_at", Text),
    Column("steps", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("waiting_for", Text, nullable=False),
    Column("cancellable", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    UniqueConstraint("actor", "idempotency_key"),
    Index(None, "workload_id", "id"),
    Index(None, "state"),
)
"""No foreign key: the record of what was done to a workload outlives the workload."""

snapshots: Final = Table(
    "snapshots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("safety_for", Text),
    Column("verified_at", Text),
    Column("damaged", Text, nullable=False),
    Column("proved_at", Text),
    Index(None, "workload_id", "id"),
)
"""What was decided about a snapshot since its capture; the snapshot itself is in the snapshot store."""

volume_states: Final = Table(
    "volume_states",
    metadata,
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("had_content", Boolean, nullable=False),
)

users: Final = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("password_set_at", Text, nullable=False),
)
"""Of passwords what argon2id makes of them."""

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("used_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Index(None, "user_id", "id"),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE")),
    Column("scopes", Text, nullable=False),
    Column("expires_at", Text),
    UniqueConstraint("user_id", "name"),
)
"""Without a user: the first token."""

secrets: Final = Table(
    "secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("set_at", Text, nullable=False),
    Column("removed", Boolean, nullable=False),
    Index(None, "workload_id", "name", "id"),
)
"""The values of secrets, sealed; each is a version of its own, which configurations name."""

registries: Final = Table(
    "registries",
    metadata,
    Column("host", Text, primary_key=True),
    Column("username", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("set_at", Text, nullable=False),
)
"""Logins of registries, their passwords sealed."""

repositories: Final = Table(
    "repositories",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("place", Text, nullable=False),
    Column("repository_id", Text, nullable=False, unique=True),
    Column("encrypted", Boolean, nullable=False),
    Column("created_at", Text, nullable=False),
)
"""Second repositories. Secrets are in files of their own, never here."""

schedules: Final = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
)
"""What each schedule did last and does next; what is scheduled stands in configurations."""

channels: Final = Table(
    "channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""Ways to tell somebody. What is secret of them is sealed."""

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel_id", Text, ForeignKey("channels.id", ondelete="CASCADE"), nullable=False),
    Column("notice", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("next_at", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("told", Text),
)
"""Notices that wait to be delivered; each goes once it is."""

alarms: Final = Table(
    "alarms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("told_at", Text, nullable=False),
    Column("title", Text, nullable=False),
)
"""Conditions that were told and last."""

bindings: Final = Table(
    "bindings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("binding", Text, nullable=False),
    Column("sealed", LargeBinary),
    Index(None, "workload_id", "id"),
)
"""Webhooks: of the address only a hash, of the secret what is sealed."""

hook_deliveries: Final = Table(
    "hook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("binding_id", Text, ForeignKey("bindings.id", ondelete="CASCADE"), nullable=False),
    Column("workload_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("key", Text),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("operation_id", Text),
    Column("replay_of", Text),
    Column("actor", Text, nullable=False),
    Column("message_values", Text),
    UniqueConstraint("binding_id", "key"),
    Index(None, "binding_id", "id"),
    Index(None, "binding_id", "digest"),
    Index(None, "binding_id", "state"),
    Index(None, "workload_id", "state"),
)
"""What came in through webhooks, and what became of it."""

usage: Final = Table(
    "usage",
    metadata,
    Column("span", Integer, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("workload_id", Text, primary_key=True),
    Column("seconds", BigInteger, nullable=False),
    Column("cpu", BigInteger, nullable=False),
    Column("cpu_max", BigInteger, nullable=False),
    Column("memory", BigInteger, nullable=False),
    Column("memory_max", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What workloads used of the machine; the rows are in the key's own order, so that a round is written to one place.

No foreign key: what a workload used that is gone goes with its time.
"""

previews: Final = Table(
    "previews",
    metadata,
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("preview", Text, nullable=False),
    UniqueConstraint("parent_id", "key"),
    Index(None, "expires_at"),
)
"""Which workloads are previews, of what, and until when. One is on record together with its workload, or not at all."""

volume_sizes: Final = Table(
    "volume_sizes",
    metadata,
    Column("workload_id", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How large volumes were when they were looked at; likewise without a foreign key."""

free_space: Final = Table(
    "free_space",
    metadata,
    Column("mount_point", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("free_bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What was free on filesystems."""

health: Final = Table(
    "health",
    metadata,
    Column("workload_id", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""How workloads were, a row whenever that changed; likewise without a foreign key."""

audit: Final = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("operation_id", Text),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
"""What was done through the API. Rows are added and never changed; triggers see to it."""

audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row: the last line of the audit log, so that it is missed if it goes."""

KEEPS_AUDIT: Final = (
    "CREATE TRIGGER audit_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
    "CREATE TRIGGER audit_not_removed BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END",
)
"""What keeps the audit log as it is against slips, in SQLite; against malice there is its chain."""
