"""Deployments know the snapshot of the data right before them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("deployments", sa.Column("snapshot_id", sa.Text()))
