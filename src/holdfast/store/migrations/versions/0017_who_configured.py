"""Workloads know when their configuration became what it is, and by whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Of what is there it is not known."""
    op.add_column("workloads", sa.Column("configured_at", sa.Text()))
    op.add_column("workloads", sa.Column("configured_by", sa.Text()))
