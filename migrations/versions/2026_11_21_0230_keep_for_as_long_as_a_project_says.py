"""Keep for as long as a project says: retention rules, and what has outlived them by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    op.create_table(
        "retention",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("archived_days", sa.Integer()),
        sa.Column("progress_evaluations_days", sa.Integer()),
        sa.Column("delivered_messages_days", sa.Integer()),
        sa.Column("resolved_alerts_days", sa.Integer()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_retention_project"),
        sa.PrimaryKeyConstraint("project_id", name="pk_retention"),
    )
    op.create_index(
        "ix_run_archived",
        "run",
        ["project_id", "archived_at", "id"],
        postgresql_where=sa.text("archived_at IS NOT NULL"),
    )
    op.create_index(
        "ix_evaluation_progress",
        "evaluation",
        ["project_id", "created_at", "id"],
        postgresql_where=sa.text("purpose = 'progress'"),
    )
    op.create_index(
        "ix_assessment_citing",
        "assessment",
        ["project_id", "evaluation_id", "number"],
        postgresql_where=sa.text("input ?| ARRAY['siblings', 'baseline_siblings', 'history']"),
    )
    op.create_index(
        "ix_outbox_message_delivered",
        "outbox_message",
        ["project_id", "delivered_at", "id"],
        postgresql_where=sa.text("delivered_at IS NOT NULL"),
    )
