"""Let what was posted before seeds were known be judged by them: the worker finds it by the versions written here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# The recipe that release 0.1.0 gave to every run of which neither configuration nor commit is known.
NOTHING_KNOWN = bytes.fromhex("049a5ea27d5a10681be161ce54d4f0c7")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    # Of runs that record no configuration nobody knows what differs: they are no siblings, so each gets its own recipe.
    unknown = sa.text(
        "UPDATE run SET recipe = uuid_send(id) WHERE recipe = :nothing OR (config = '{}' AND seed IS NULL)"
    )
    op.execute(unknown.bindparams(nothing=NOTHING_KNOWN))
    op.execute(
        """
        UPDATE leaderboard_row l SET recipe = r.recipe FROM run r
        WHERE r.project_id = l.project_id AND r.id = l.run_id AND l.recipe <> r.recipe
        """
    )
    op.execute(
        """
        INSERT INTO seed_set (project_id, suite_id, stage, recipe, version)
        SELECT e.project_id, e.suite_id, e.stage, r.recipe, 1
        FROM evaluation e JOIN run r ON r.project_id = e.project_id AND r.id = e.run_id
        WHERE e.is_latest
        GROUP BY e.project_id, e.suite_id, e.stage, r.recipe
        HAVING count(*) > 1
        ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        """
        INSERT INTO seed_set (project_id, suite_id, stage, recipe, version)
        SELECT project_id, suite_id, stage, '', 1 FROM baseline WHERE version > 0
        ON CONFLICT DO NOTHING
        """
    )
