"""Find leaderboard rows that do not count by an index of their own: few, and asked for beside the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_index(
        "ix_leaderboard_row_ineligible",
        "leaderboard_row",
        ["project_id", "suite_id", "stage", "cell", "sort_class", "sort_key", "evaluation_id"],
        postgresql_where=sa.text("NOT eligible"),
    )
