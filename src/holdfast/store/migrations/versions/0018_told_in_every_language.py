"""Why deliveries of webhooks and of notices ended as they did is kept with what tells it in another language."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Of what is there only the English words are known."""
    op.add_column("hook_deliveries", sa.Column("message_values", sa.Text()))
    op.add_column("deliveries", sa.Column("told", sa.Text()))
