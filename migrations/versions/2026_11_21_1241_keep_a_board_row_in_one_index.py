"""Keep a leaderboard row in one index instead of two.

Of its own, since building the other index lets readers go on, and dropping this one does not.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.drop_index("ix_leaderboard_row_by_evaluation", table_name="leaderboard_row")
