"""Find leaderboard rows that a run has overtaken by an index of their own; the next migration drops the one for all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    op.create_index(
        "ix_leaderboard_row_overtaken",
        "leaderboard_row",
        ["project_id", "suite_id", "stage", "cell", "sort_class", "sort_key", "evaluation_id"],
        postgresql_where=sa.text("eligible AND NOT is_latest"),
    )
