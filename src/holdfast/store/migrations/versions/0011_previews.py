"""Previews: which workloads are, of what, and until when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "previews",
        sa.Column("workload_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("preview", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workload_id", name="pk_previews"),
        sa.UniqueConstraint("parent_id", "key", name="uq_previews_parent_id_key"),
        sa.ForeignKeyConstraint(
            ["workload_id"], ["workloads.id"], name="fk_previews_workload_id_workloads", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_previews_expires_at", "previews", ["expires_at"])
