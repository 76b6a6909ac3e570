"""What workloads use of the machine, in time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBERS = ("seconds", "cpu", "cpu_max", "memory", "memory_max", "received", "sent")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "usage",
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("workload_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.PrimaryKeyConstraint("span", "at", "workload_id", name="pk_usage"),
        sqlite_with_rowid=False,
    )
