"""Create the verdict service: projects, runs, suites, policies, evaluations, champions, alerts, outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None

# fmt: off
TABLES = (
    "project", "token", "run", "attempt", "suite", "suite_version", "policy", "evaluation",
    "evaluation_value", "assessment", "check_result", "baseline", "baseline_event", "leaderboard_row",
    "alert", "sink", "outbox_message", "audit_event",
)
# fmt: on


def upgrade() -> None:
    # op.f(): the naming convention would put its prefix before a check's name once more.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "project",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("key", name="uq_project_key"),
    )

    op.create_table(
        "token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("(role = 'admin') = (project_id IS NULL)", name=op.f("ck_token_scope")),
        sa.CheckConstraint("(role = 'run') = (run_id IS NOT NULL)", name=op.f("ck_token_run_scope")),
        sa.CheckConstraint(
            "role IN ('viewer', 'reporter', 'maintainer', 'admin', 'run')", name=op.f("ck_token_role")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_token_project"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("digest", name="uq_token_digest"),
    )
    op.create_index("ix_token_project_id_created_at", "token", ["project_id", "created_at"])

    op.create_table(
        "run",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run_group", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("tags", ARRAY(sa.Text()), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger()),
        sa.Column("split_seeded", sa.Boolean()),
        sa.Column("git_commit", sa.Text()),
        sa.Column("environment", JSONB(), nullable=False),
        sa.Column("recipe", sa.LargeBinary(), nullable=False),
        sa.Column("newest_attempt", sa.Integer(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("validity_reason", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status IN ('running', 'finished', 'failed', 'preempted')", name=op.f("ck_run_status")
        ),
        sa.CheckConstraint("validity IN ('valid', 'suspect', 'invalid')", name=op.f("ck_run_validity")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_run_project"),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_run"),
        sa.UniqueConstraint("project_id", "key", name="uq_run_project_id_key"),
    )
    op.create_index("ix_run_id", "run", ["id"])
    op.create_index("ix_run_project_id_created_at_id", "run", ["project_id", "created_at", "id"])
    op.create_index("ix_run_project_id_run_group", "run", ["project_id", "run_group"])

    op.create_table(
        "attempt",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"], ["run.project_id", "run.id"], name="fk_attempt_run"
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", "number", name="pk_attempt"),
        sa.UniqueConstraint(
            "project_id", "run_id", "attempt_id", name="uq_attempt_project_id_run_id_attempt_id"
        ),
    )

    op.create_table(
        "suite",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("frozen_weights", JSONB()),
        sa.Column("weights_final", sa.Boolean(), nullable=False),
        sa.Column("weights_evaluation_id", sa.Uuid()),
        sa.Column("weights_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_suite_project"),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_suite"),
        sa.UniqueConstraint("project_id", "key", name="uq_suite_project_id_key"),
    )

    op.create_table(
        "suite_version",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id"], ["suite.project_id", "suite.id"], name="fk_suite_version_suite"
        ),
        sa.PrimaryKeyConstraint("project_id", "suite_id", "version", name="pk_suite_version"),
    )

    op.create_table(
        "policy",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_policy_project"),
        sa.PrimaryKeyConstraint("project_id", "version", name="pk_policy"),
    )

    op.create_table(
        "evaluation",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("suite_version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("stated", JSONB(), nullable=False),
        sa.Column("loss", JSONB(), nullable=False),
        sa.Column("info", JSONB(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("validity_reason", sa.Text()),
        sa.Column("assessment", sa.Integer(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("judged_version", sa.Integer(), nullable=False),
        sa.Column("weights_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("causes", ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("gate IN ('open', 'undecided', 'closed')", name=op.f("ck_evaluation_gate")),
        sa.CheckConstraint("purpose IN ('candidate', 'progress')", name=op.f("ck_evaluation_purpose")),
        sa.CheckConstraint(
            "validity IN ('valid', 'suspect', 'invalid')", name=op.f("ck_evaluation_validity")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"], ["run.project_id", "run.id"], name="fk_evaluation_run"
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id", "suite_version"],
            ["suite_version.project_id", "suite_version.suite_id", "suite_version.version"],
            name="fk_evaluation_suite_version",
        ),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_evaluation"),
    )
    op.create_index("ix_evaluation_id", "evaluation", ["id"])
    op.create_index(
        "ix_evaluation_project_id_run_id_suite_id_stage_attempt_step",
        "evaluation",
        ["project_id", "run_id", "suite_id", "stage", "attempt", "step"],
    )
    op.create_index(
        "ix_evaluation_project_id_suite_id_stage_created_at_id",
        "evaluation",
        ["project_id", "suite_id", "stage", "created_at", "id"],
    )
    op.create_index(
        "ix_evaluation_to_judge_again",
        "evaluation",
        ["project_id", "suite_id", "stage", "judged_version"],
        postgresql_where=sa.text("is_latest"),
    )
    op.create_index(
        "ix_evaluation_to_pool_again",
        "evaluation",
        ["project_id", "suite_id", "weights_version"],
        postgresql_where=sa.text("purpose = 'candidate'"),
    )

    op.create_table(
        "evaluation_value",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("bound", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger()),
        sa.Column("stderr", sa.Double()),
        sa.CheckConstraint(
            "bound IN ('exact', 'at_least', 'at_most')", name=op.f("ck_evaluation_value_bound")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "evaluation_id"],
            ["evaluation.project_id", "evaluation.id"],
            name="fk_evaluation_value_evaluation",
        ),
        sa.PrimaryKeyConstraint(
            "project_id", "evaluation_id", "metric", "group_name", name="pk_evaluation_value"
        ),
    )

    op.create_table(
        "assessment",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("aggregates", JSONB(), nullable=False),
        sa.Column("judged_cells", sa.Integer(), nullable=False),
        sa.Column("total_cells", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("baseline_version", sa.Integer(), nullable=False),
        sa.Column("baseline_evaluation_id", sa.Uuid()),
        sa.Column("input", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "evaluation_id"],
            ["evaluation.project_id", "evaluation.id"],
            name="fk_assessment_evaluation",
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "policy_version"],
            ["policy.project_id", "policy.version"],
            name="fk_assessment_policy",
        ),
        sa.PrimaryKeyConstraint("project_id", "evaluation_id", "number", name="pk_assessment"),
    )
    op.create_index(
        "ix_assessment_project_id_baseline_evaluation_id",
        "assessment",
        ["project_id", "baseline_evaluation_id"],
    )

    op.create_table(
        "check_result",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("assessment", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text()),
        sa.Column("group_name", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("notes", JSONB(), nullable=False),
        sa.Column("baseline", sa.Double()),
        sa.Column("candidate", sa.Double()),
        sa.Column("worsening", sa.Double()),
        sa.Column("limit", sa.Double()),
        sa.Column("detail", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "evaluation_id", "assessment"],
            ["assessment.project_id", "assessment.evaluation_id", "assessment.number"],
            name="fk_check_result_assessment",
        ),
        sa.PrimaryKeyConstraint(
            "project_id", "evaluation_id", "assessment", "ordinal", name="pk_check_result"
        ),
    )

    op.create_table(
        "baseline",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid()),
        sa.ForeignKeyConstraint(
            ["project_id", "evaluation_id"],
            ["evaluation.project_id", "evaluation.id"],
            name="fk_baseline_evaluation",
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id"], ["suite.project_id", "suite.id"], name="fk_baseline_suite"
        ),
        sa.PrimaryKeyConstraint("project_id", "suite_id", "stage", name="pk_baseline"),
    )

    op.create_table(
        "baseline_event",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid()),
        sa.Column("previous_evaluation_id", sa.Uuid()),
        sa.Column("to_version", sa.Integer()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("policy_version", sa.Integer()),
        sa.Column("gate", sa.Text()),
        sa.Column("detail", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('promote', 'bootstrap', 'override', 'rollback', 'invalidate')",
            name=op.f("ck_baseline_event_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id", "stage"],
            ["baseline.project_id", "baseline.suite_id", "baseline.stage"],
            name="fk_baseline_event_baseline",
        ),
        sa.PrimaryKeyConstraint("project_id", "suite_id", "stage", "version", name="pk_baseline_event"),
    )
    op.create_index(
        "ix_baseline_event_project_id_evaluation_id", "baseline_event", ["project_id", "evaluation_id"]
    )

    op.create_table(
        "leaderboard_row",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("suite_version", sa.Integer(), nullable=False),
        sa.Column("cell", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("recipe", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("bound", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger()),
        sa.Column("sort_class", sa.SmallInteger(), nullable=False),
        sa.Column("sort_key", sa.Double(), nullable=False),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("eligible", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "evaluation_id"],
            ["evaluation.project_id", "evaluation.id"],
            name="fk_leaderboard_row_evaluation",
        ),
        sa.PrimaryKeyConstraint(
            "project_id", "evaluation_id", "metric", "group_name", name="pk_leaderboard_row"
        ),
    )
    op.create_index(
        "ix_leaderboard_row_by_evaluation",
        "leaderboard_row",
        ["project_id", "suite_id", "stage", "cell", "sort_class", "sort_key", "evaluation_id"],
        postgresql_where=sa.text("eligible"),
    )
    op.create_index(
        "ix_leaderboard_row_by_run",
        "leaderboard_row",
        ["project_id", "suite_id", "stage", "cell", "sort_class", "sort_key", "evaluation_id"],
        postgresql_where=sa.text("is_latest AND eligible"),
    )

    op.create_table(
        "alert",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("lines", JSONB(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("changed_by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("muted_until", sa.DateTime(timezone=True)),
        sa.CheckConstraint("level IN ('info', 'warn', 'error')", name=op.f("ck_alert_level")),
        sa.CheckConstraint(
            "state IN ('open', 'acknowledged', 'muted', 'resolved')", name=op.f("ck_alert_state")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id"], ["suite.project_id", "suite.id"], name="fk_alert_suite"
        ),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_alert"),
        sa.UniqueConstraint(
            "project_id",
            "suite_id",
            "stage",
            "subject",
            "kind",
            name="uq_alert_project_id_suite_id_stage_subject_kind",
        ),
    )
    op.create_index("ix_alert_id", "alert", ["id"])
    op.create_index(
        "ix_alert_project_id_state_updated_at_id", "alert", ["project_id", "state", "updated_at", "id"]
    )

    op.create_table(
        "sink",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_sink_project"),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_sink"),
    )

    op.create_table(
        "outbox_message",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("payload", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_id", sa.Uuid()),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.Column("buried_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_outbox_message"),
    )
    op.create_index(
        "ix_outbox_message_owed",
        "outbox_message",
        ["available_at", "id"],
        postgresql_where=sa.text("delivered_at IS NULL AND buried_at IS NULL"),
    )
    op.create_index(
        "ix_outbox_message_owed_in_order",
        "outbox_message",
        ["project_id", "sink", "order_key", "id"],
        postgresql_where=sa.text("delivered_at IS NULL AND buried_at IS NULL"),
    )

    op.create_table(
        "audit_event",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("policy_version", sa.Integer()),
        sa.Column("detail", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_audit_event"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in reversed(TABLES):
        op.drop_table(table)
