"""Webhooks: addresses tied to an action on a workload, and what came in through them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "bindings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workload_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("binding", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_bindings"),
        sa.UniqueConstraint("hash", name="uq_bindings_hash"),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_bindings_workload_id_workloads", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_bindings_workload_id_id", "bindings", ["workload_id", "id"])
    op.create_table(
        "hook_deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("binding_id", sa.Text(), nullable=False),
        sa.Column("workload_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text()),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text()),
        sa.Column("replay_of", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hook_deliveries"),
        sa.UniqueConstraint("binding_id", "key", name="uq_hook_deliveries_binding_id_key"),
        sa.ForeignKeyConstraint(
            ["binding_id"], ["bindings.id"], name="fk_hook_deliveries_binding_id_bindings", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_hook_deliveries_binding_id_id", "hook_deliveries", ["binding_id", "id"])
    op.create_index("ix_hook_deliveries_binding_id_digest", "hook_deliveries", ["binding_id", "digest"])
    op.create_index("ix_hook_deliveries_binding_id_state", "hook_deliveries", ["binding_id", "state"])
    op.create_index("ix_hook_deliveries_workload_id_state", "hook_deliveries", ["workload_id", "state"])
