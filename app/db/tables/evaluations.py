"""What was posted, and what was found of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

evaluation = Table(
    "evaluation",
    metadata,
    project_column(),
    Column("id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("suite_id", Uuid, nullable=False),
    Column("suite_version", Integer, nullable=False),
    text_column("stage"),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger),
    text_column("purpose"),
    # SHA-256 of the parsed content: the same id with another digest is a conflict.
    Column("digest", LargeBinary, nullable=False),
    json_column("stated"),
    json_column("loss"),
    json_column("info"),
    text_column("validity"),
    text_column("validity_reason", nullable=True),
    # The newest assessment's number, gate and the pointer version it was made against, so lists need no join.
    Column("assessment", Integer, nullable=False),
    text_column("gate"),
    Column("judged_version", Integer, nullable=False),
    # The suite's weights_version that its aggregates were pooled with.
    Column("weights_version", Integer, nullable=False, server_default=text("0")),
    # Versions of the seed sets that it was judged by: its own recipe's and the champions'.
    Column("seeds_version", BigInteger, nullable=False, server_default=text("0")),
    Column("rivals_version", BigInteger, nullable=False, server_default=text("0")),
    # Kinds of alert that it gives cause for (regression, limit, integrity).
    Column("causes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # Whether this is its run's latest valid candidate on this suite and stage: the run's leaderboard row.
    Column("is_latest", Boolean, nullable=False),
    at_column("created_at"),
    text_column("created_by"),
    PrimaryKeyConstraint("project_id", "id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
    ForeignKeyConstraint(
        ["project_id", "suite_id", "suite_version"],
        ["suite_version.project_id", "suite_version.suite_id", "suite_version.version"],
    ),
    one_of("purpose", "purpose", "candidate", "progress"),
    one_of("validity", "validity", "valid", "suspect", "invalid"),
    one_of("gate", "gate", "open", "undecided", "closed"),
    Index(None, "id"),
    Index(None, "project_id", "run_id", "suite_id", "stage", "attempt", "step"),
    Index(None, "project_id", "suite_id", "stage", "created_at", "id"),
    Index(
        "ix_evaluation_to_judge_again",
        "project_id",
        "suite_id",
        "stage",
        "judged_version",
        postgresql_where=text("is_latest"),
    ),
    Index(
        "ix_evaluation_to_judge_by_more_seeds",
        "project_id",
        "suite_id",
        "stage",
        "rivals_version",
        postgresql_where=text("is_latest"),
    ),
    Index(
        "ix_evaluation_to_pool_again",
        "project_id",
        "suite_id",
        "weights_version",
        postgresql_where=text("purpose = 'candidate'"),
    ),
    Index(
        "ix_evaluation_progress",
        "project_id",
        "created_at",
        "id",
        postgresql_where=text("purpose = 'progress'"),
    ),
)

evaluation_value = Table(
    "evaluation_value",
    metadata,
    project_column(),
    Column("evaluation_id", Uuid, nullable=False),
    text_column("metric"),
    text_column("group_name"),
    Column("value", Double, nullable=False),
    text_column("bound"),
    Column("n", BigInteger),
    Column("stderr", Double),
    PrimaryKeyConstraint("project_id", "evaluation_id", "metric", "group_name"),
    # Its evaluation is there: looked up once a statement by a trigger, not once a row (migration 0009).
    one_of("bound", "bound", "exact", "at_least", "at_most"),
)

assessment = Table(
    "assessment",
    metadata,
    project_column(),
    Column("evaluation_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    # Why it was made: posted, champion_changed, champion_invalid, weights_changed, seeds_changed.
    text_column("cause"),
    text_column("gate"),
    text_column("sentence"),
    json_column("aggregates"),
    Column("judged_cells", Integer, nullable=False),
    Column("total_cells", Integer, nullable=False),
    # What it was computed from: with these, evaluations, suite versions and policies (which never change) the
    # verdict can be computed again for ever.
    Column("policy_version", Integer, nullable=False),
    Column("baseline_version", Integer, nullable=False),
    Column("baseline_evaluation_id", Uuid),
    json_column("input"),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "evaluation_id", "number"),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
    ForeignKeyConstraint(["project_id", "policy_version"], ["policy.project_id", "policy.version"]),
    Index(None, "project_id", "baseline_evaluation_id"),
    # Verdicts that other evaluations than the champion's went into.
    Index(
        "ix_assessment_citing",
        "project_id",
        "evaluation_id",
        "number",
        postgresql_where=text("input ?| ARRAY['siblings', 'baseline_siblings', 'history']"),
    ),
)

check_result = Table(
    "check_result",
    metadata,
    project_column(),
    Column("evaluation_id", Uuid, nullable=False),
    Column("assessment", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    text_column("rule"),
    text_column("metric", nullable=True),
    text_column("group_name", nullable=True),
    text_column("outcome"),
    Column("required", Boolean, nullable=False),
    text_column("reason", nullable=True),
    json_column("notes"),
    Column("baseline", Double),
    Column("candidate", Double),
    Column("worsening", Double),
    Column("limit", Double),
    json_column("detail"),
    PrimaryKeyConstraint("project_id", "evaluation_id", "assessment", "ordinal"),
    # Its assessment is there: a trigger likewise.
)
