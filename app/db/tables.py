"""Every table, as SQLAlchemy Core; the only other place that knows their shape is `migrations/`.

The primary key of every table that grows begins with the project, so that it can be partitioned or
distributed by project without a redesign. Times are `timestamptz`; constraints are named by the convention in
`columns`. `float8` columns may hold NaN and ±∞; JSON columns may not, so non-finite numbers are written there
as strings.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

project = Table(
    "project",
    metadata,
    Column("id", Uuid, nullable=False),
    text_column("key"),
    text_column("name"),
    at_column("created_at"),
    text_column("created_by"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("key"),
)

token = Table(
    "token",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("project_id", Uuid),
    Column("run_id", Uuid),
    text_column("prefix"),
    # Only the SHA-256 of the secret is kept: a copy of the database opens nothing.
    Column("digest", LargeBinary, nullable=False),
    text_column("role"),
    text_column("label"),
    at_column("created_at"),
    text_column("created_by"),
    at_column("expires_at", nullable=True),
    at_column("revoked_at", nullable=True),
    at_column("last_used_at", nullable=True),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
    one_of("role", "role", "viewer", "reporter", "maintainer", "admin", "run"),
    CheckConstraint("(role = 'admin') = (project_id IS NULL)", name="scope"),
    CheckConstraint("(role = 'run') = (run_id IS NOT NULL)", name="run_scope"),
    Index(None, "project_id", "created_at"),
)

run = Table(
    "run",
    metadata,
    project_column(),
    Column("id", Uuid, nullable=False),
    text_column("key"),
    text_column("name"),
    text_column("run_group", nullable=True),
    text_column("status"),
    json_column("config"),
    Column("tags", ARRAY(Text), nullable=False),
    text_column("notes"),
    # A seed is any 64-bit integer; whether the split had one too is only known when the run says so.
    Column("seed", BigInteger),
    Column("split_seeded", Boolean),
    text_column("git_commit", nullable=True),
    json_column("environment"),
    Column("recipe", LargeBinary, nullable=False),
    Column("newest_attempt", Integer, nullable=False),
    text_column("validity"),
    text_column("validity_reason", nullable=True),
    at_column("created_at"),
    text_column("created_by"),
    at_column("updated_at"),
    at_column("archived_at", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
    one_of("status", "status", "running", "finished", "failed", "preempted"),
    one_of("validity", "validity", "valid", "suspect", "invalid"),
    Index(None, "id"),
    Index(None, "project_id", "created_at", "id"),
    Index(None, "project_id", "run_group"),
    Index(None, "project_id", "recipe"),
    Index(
        "ix_run_archived",
        "project_id",
        "archived_at",
        "id",
        postgresql_where=text("archived_at IS NOT NULL"),
    ),
)

attempt = Table(
    "attempt",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    at_column("started_at"),
    PrimaryKeyConstraint("project_id", "run_id", "number"),
    UniqueConstraint("project_id", "run_id", "attempt_id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
)

suite = Table(
    "suite",
    metadata,
    project_column(),
    Column("id", Uuid, nullable=False),
    text_column("key"),
    Column("version", Integer, nullable=False),
    # Shares of n by group; of the first champion once `weights_final`, of the first evaluation until then.
    json_column("frozen_weights", nullable=True),
    Column("weights_final", Boolean, nullable=False),
    # Whose shares they are: "first" is decided by evaluation id, which is drawn in time order, not by arrival.
    Column("weights_evaluation_id", Uuid),
    # Moves by one whenever the shares change, so that what was pooled with others is found and pooled again.
    Column("weights_version", Integer, nullable=False, server_default=text("0")),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

suite_version = Table(
    "suite_version",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    json_column("document"),
    at_column("created_at"),
    text_column("created_by"),
    PrimaryKeyConstraint("project_id", "suite_id", "version"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
)

policy = Table(
    "policy",
    metadata,
    project_column(),
    Column("version", Integer, nullable=False),
    json_column("document"),
    at_column("created_at"),
    text_column("created_by"),
    PrimaryKeyConstraint("project_id", "version"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

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
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
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
    ForeignKeyConstraint(
        ["project_id", "evaluation_id", "assessment"],
        ["assessment.project_id", "assessment.evaluation_id", "assessment.number"],
    ),
)

baseline = Table(
    "baseline",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # Moves by one with every event; compare-and-swap on it is what makes promotion safe.
    Column("version", Integer, nullable=False),
    Column("evaluation_id", Uuid),
    PrimaryKeyConstraint("project_id", "suite_id", "stage"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
)

baseline_event = Table(
    "baseline_event",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # The pointer's version after the event.
    Column("version", Integer, nullable=False),
    text_column("kind"),
    Column("evaluation_id", Uuid),
    Column("previous_evaluation_id", Uuid),
    # For rollback and invalidate: the event whose champion was taken back; None when the seat fell vacant.
    Column("to_version", Integer),
    text_column("actor"),
    text_column("reason", nullable=True),
    Column("policy_version", Integer),
    text_column("gate", nullable=True),
    # The verdict's sentence and the limits not met, as decided at that moment.
    json_column("detail"),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "suite_id", "stage", "version"),
    ForeignKeyConstraint(
        ["project_id", "suite_id", "stage"], ["baseline.project_id", "baseline.suite_id", "baseline.stage"]
    ),
    one_of("kind", "kind", "promote", "bootstrap", "override", "rollback", "invalidate"),
    Index(None, "project_id", "evaluation_id"),
)

seed_set = Table(
    "seed_set",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # Empty for the set of all recipes that champions of this suite and stage were made by.
    Column("recipe", LargeBinary, nullable=False),
    # Moves by one when a run joins or leaves the set: a first candidate, a later one, validity, another config.
    Column("version", BigInteger, nullable=False),
    # Every evaluation of the set has been judged by this version; kept for recipes only.
    Column("judged_version", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("project_id", "suite_id", "stage", "recipe"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    Index(
        "ix_seed_set_to_judge",
        "project_id",
        "suite_id",
        "stage",
        "recipe",
        postgresql_where=text("judged_version < version AND recipe <> ''"),
    ),
)

leaderboard_row = Table(
    "leaderboard_row",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    Column("evaluation_id", Uuid, nullable=False),
    text_column("metric"),
    text_column("group_name"),
    Column("suite_version", Integer, nullable=False),
    # Digest of what the number means (dataset, split, protocol, metric, group): equal ones rank together.
    Column("cell", LargeBinary, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("recipe", LargeBinary, nullable=False),
    Column("value", Double, nullable=False),
    text_column("bound"),
    Column("n", BigInteger),
    # 0 exact and finite, 1 only a bound, 2 not finite; then ascending is best first, whatever the direction.
    Column("sort_class", SmallInteger, nullable=False),
    Column("sort_key", Double, nullable=False),
    Column("is_latest", Boolean, nullable=False),
    # Whether run and evaluation are valid and the run is not archived.
    Column("eligible", Boolean, nullable=False),
    PrimaryKeyConstraint("project_id", "evaluation_id", "metric", "group_name"),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
    Index(
        "ix_leaderboard_row_by_run",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("is_latest AND eligible"),
    ),
    Index(
        "ix_leaderboard_row_by_evaluation",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("eligible"),
    ),
    # Few rows, and they are asked for beside the others.
    Index(
        "ix_leaderboard_row_ineligible",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("NOT eligible"),
    ),
)

alert = Table(
    "alert",
    metadata,
    project_column(),
    Column("id", Uuid, nullable=False),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # `group:<run group>` or `run:<run id>`.
    text_column("subject"),
    text_column("kind"),
    text_column("state"),
    text_column("level"),
    text_column("title"),
    json_column("lines"),
    # How many evaluations of the subject failed this way.
    Column("count", Integer, nullable=False),
    # The newest evaluation that the state follows from (Position: attempt, step, evaluation).
    Column("evaluation_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    at_column("opened_at"),
    at_column("updated_at"),
    at_column("resolved_at", nullable=True),
    text_column("changed_by", nullable=True),
    text_column("reason", nullable=True),
    at_column("muted_until", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "suite_id", "stage", "subject", "kind"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    one_of("state", "state", "open", "acknowledged", "muted", "resolved"),
    one_of("level", "level", "info", "warn", "error"),
    Index(None, "id"),
    Index(None, "project_id", "state", "updated_at", "id"),
)

sink = Table(
    "sink",
    metadata,
    project_column(),
    text_column("name"),
    text_column("kind"),
    Column("enabled", Boolean, nullable=False),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "name"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

outbox_message = Table(
    "outbox_message",
    metadata,
    project_column(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    text_column("sink"),
    text_column("topic"),
    # Messages with the same key are delivered in the order of their ids: the run's id, mostly.
    text_column("order_key"),
    json_column("payload"),
    at_column("created_at"),
    at_column("available_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Who holds it; a worker whose lease ran out may not mark it any more.
    Column("lease_id", Uuid),
    at_column("lease_until", nullable=True),
    at_column("delivered_at", nullable=True),
    at_column("buried_at", nullable=True),
    text_column("last_error", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    Index(
        "ix_outbox_message_owed",
        "available_at",
        "id",
        postgresql_where=text("delivered_at IS NULL AND buried_at IS NULL"),
    ),
    Index(
        "ix_outbox_message_owed_in_order",
        "project_id",
        "sink",
        "order_key",
        "id",
        postgresql_where=text("delivered_at IS NULL AND buried_at IS NULL"),
    ),
    Index(
        "ix_outbox_message_delivered",
        "project_id",
        "delivered_at",
        "id",
        postgresql_where=text("delivered_at IS NOT NULL"),
    ),
)

retention = Table(
    "retention",
    metadata,
    project_column(),
    # How many days something is kept; NULL is for ever. A project without a row has the defaults of domain/retention.
    Column("archived_days", Integer),
    Column("progress_evaluations_days", Integer),
    Column("delivered_messages_days", Integer),
    Column("resolved_alerts_days", Integer),
    at_column("updated_at"),
    text_column("updated_by"),
    PrimaryKeyConstraint("project_id"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

audit_event = Table(
    "audit_event",
    metadata,
    # The nil UUID stands for the server itself.
    project_column(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    text_column("actor"),
    text_column("action"),
    text_column("subject"),
    text_column("reason", nullable=True),
    Column("policy_version", Integer),
    json_column("detail"),
    PrimaryKeyConstraint("project_id", "id"),
)
