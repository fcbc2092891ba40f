"""Keep what a delivery has mirrored: the runs of W&B, what each holds, where it lies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    op.add_column("outbox_message", sa.Column("mirrored", JSONB(), nullable=True))
