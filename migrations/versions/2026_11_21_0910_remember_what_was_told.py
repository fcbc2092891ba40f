"""Remember what a sink's receivers were told of, so that the same news is not told again and again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    op.create_table(
        "notice_told",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "level IN ('info', 'warn', 'error')", name=op.f("ck_notice_told_ck_notice_told_level")
        ),
        sa.PrimaryKeyConstraint("project_id", "sink", "subject", name="pk_notice_told"),
    )
