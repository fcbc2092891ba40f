"""Keep what test-time compute chose: the candidates' rewards and the one that was taken, step by step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    op.create_table(
        "ttc_step",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("rewards", ARRAY(sa.Double()), nullable=False),
        sa.Column("chosen", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "chosen >= 0 AND chosen < cardinality(rewards)", name=op.f("ck_ttc_step_ck_ttc_step_chosen")
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx", name="pk_ttc_step"),
    )
    op.create_index(
        "ix_ttc_step_project_id_run_id_step_idx", "ttc_step", ["project_id", "run_id", "step", "idx"]
    )
