"""Say where verdicts go: a sink's settings and its pause, what a receiver answered, and deliveries found by state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    # Together, and given up before Postgres looks for a deadlock (1 s), of which a request could be the victim.
    op.execute("SET LOCAL lock_timeout = '300ms'")
    op.execute("LOCK TABLE sink, outbox_message")
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in (
        sa.Column("settings", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True)),
        sa.Column("paused_because", sa.Text()),
        sa.Column("changed_at", sa.DateTime(timezone=True)),
        sa.Column("changed_by", sa.Text()),
    ):
        op.add_column("sink", column)
    op.add_column("outbox_message", sa.Column("receipt", sa.Text()))
    op.create_index(
        "ix_outbox_message_delivered_by_sink",
        "outbox_message",
        ["project_id", "sink", "delivered_at"],
        postgresql_where=sa.text("delivered_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_message_buried",
        "outbox_message",
        ["project_id", "id"],
        postgresql_where=sa.text("buried_at IS NOT NULL"),
    )
