"""Alert about a training: alerts that belong to a run alone, without suite, stage and evaluation."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    # The release before joins each alert to its suite, so it does not see these.
    for column in ("suite_id", "stage", "evaluation_id"):
        op.alter_column("alert", column, nullable=True)
    for name, rule in (
        ("place", "(suite_id IS NULL) = (stage IS NULL)"),
        ("evidence", "(suite_id IS NULL) = (evaluation_id IS NULL)"),
    ):
        op.execute(f"ALTER TABLE alert ADD CONSTRAINT ck_alert_{name} CHECK ({rule}) NOT VALID")
        op.execute(f"ALTER TABLE alert VALIDATE CONSTRAINT ck_alert_{name}")
    op.create_index("ix_alert_project_id_subject", "alert", ["project_id", "subject"])
