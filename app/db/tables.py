"""Every table, as SQLAlchemy Core; the only other place that knows their shape is `migrations/`.

The primary key of every table that grows begins with the project, so that it can be partitioned or distributed by
project without a redesign. Times are `timestamptz`; constraints are named by the convention below. `float8` columns may
hold NaN and ±∞; JSON columns may not, so non-finite numbers are written there as strings.
"""

from __future__ import annotations

from typing import Any

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
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=nullable)


def _project() -> Column[Any]:
    return Column("project_id", Uuid, nullable=False)


def _one_of(name: str, column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


project = Table(
    "project",
    metadata,
    Column("id", Uuid, nullable=False),
    _text("key"),
    _text("name"),
    _at("created_at"),
    _text("created_by"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("key"),
)

token = Table(
    "token",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("project_id", Uuid),
    Column("run_id", Uuid),
    _text("prefix"),
    # Only the SHA-256 of the secret is kept: a copy of the database opens nothing.
    Column("digest", LargeBinary, nullable=False),
    _text("role"),
    _text("label"),
    _at("created_at"),
    _text("created_by"),
    _at("expires_at", nullable=True),
    _at("revoked_at", nullable=True),
    _at("last_used_at", nullable=True),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("digest"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
    _one_of("role", "role", "viewer", "reporter", "maintainer", "admin", "run"),
    CheckConstraint("(role = 'admin') = (project_id IS NULL)", name="scope"),
    CheckConstraint("(role = 'run') = (run_id IS NOT NULL)", name="run_scope"),
    Index(None, "project_id", "created_at"),
)

run = Table(
    "run",
    metadata,
    _project(),
    Column("id", Uuid, nullable=False),
    _text("key"),
    _text("name"),
    _text("run_group", nullable=True),
    _text("status"),
    _json("config"),
    Column("tags", ARRAY(Text), nullable=False),
    _text("notes"),
    # A seed is any 64-bit integer; whether the split had one too is only known when the run says so.
    Column("seed", BigInteger),
    Column("split_seeded", Boolean),
    _text("git_commit", nullable=True),
    _json("environment"),
    Column("recipe", LargeBinary, nullable=False),
    Column("newest_attempt", Integer, nullable=False),
    _text("validity"),
    _text("validity_reason", nullable=True),
    _at("created_at"),
    _text("created_by"),
    _at("updated_at"),
    _at("archived_at", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
    _one_of("status", "status", "running", "finished", "failed", "preempted"),
    _one_of("validity", "validity", "valid", "suspect", "invalid"),
    Index(None, "id"),
    Index(None, "project_id", "created_at", "id"),
)

attempt = Table(
    "attempt",
    metadata,
    _project(),
    Column("run_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    _at("started_at"),
    PrimaryKeyConstraint("project_id", "run_id", "number"),
    UniqueConstraint("project_id", "run_id", "attempt_id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
)

suite = Table(
    "suite",
    metadata,
    _project(),
    Column("id", Uuid, nullable=False),
    _text("key"),
    Column("version", Integer, nullable=False),
    # Shares of n by group; of the first champion once `weights_final`, of the first evaluation until then.
    _json("frozen_weights", nullable=True),
    Column("weights_final", Boolean, nullable=False),
    _at("created_at"),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

suite_version = Table(
    "suite_version",
    metadata,
    _project(),
    Column("suite_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    _json("document"),
    _at("created_at"),
    _text("created_by"),
    PrimaryKeyConstraint("project_id", "suite_id", "version"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
)

policy = Table(
    "policy",
    metadata,
    _project(),
    Column("version", Integer, nullable=False),
    _json("document"),
    _at("created_at"),
    _text("created_by"),
    PrimaryKeyConstraint("project_id", "version"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

evaluation = Table(
    "evaluation",
    metadata,
    _project(),
    Column("id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("suite_id", Uuid, nullable=False),
    Column("suite_version", Integer, nullable=False),
    _text("stage"),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger),
    _text("purpose"),
    # SHA-256 of the parsed content: the same id with another digest is a conflict.
    Column("digest", LargeBinary, nullable=False),
    _json("stated"),
    _json("loss"),
    _json("info"),
    _text("validity"),
    _text("validity_reason", nullable=True),
    # The newest assessment's number, gate and the pointer version it was made against, so lists need no join.
    Column("assessment", Integer, nullable=False),
    _text("gate"),
    Column("judged_version", Integer, nullable=False),
    # Whether this is its run's latest valid candidate on this suite and stage: the run's leaderboard row.
    Column("is_latest", Boolean, nullable=False),
    _at("created_at"),
    _text("created_by"),
    PrimaryKeyConstraint("project_id", "id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
    ForeignKeyConstraint(
        ["project_id", "suite_id", "suite_version"],
        ["suite_version.project_id", "suite_version.suite_id", "suite_version.version"],
    ),
    _one_of("purpose", "purpose", "candidate", "progress"),
    _one_of("validity", "validity", "valid", "suspect", "invalid"),
    _one_of("gate", "gate", "open", "undecided", "closed"),
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
)

evaluation_value = Table(
    "evaluation_value",
    metadata,
    _project(),
    Column("evaluation_id", Uuid, nullable=False),
    _text("metric"),
    _text("group_name"),
    Column("value", Double, nullable=False),
    _text("bound"),
    Column("n", BigInteger),
    Column("stderr", Double),
    PrimaryKeyConstraint("project_id", "evaluation_id", "metric", "group_name"),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
    _one_of("bound", "bound", "exact", "at_least", "at_most"),
)

assessment = Table(
    "assessment",
    metadata,
    _project(),
    Column("evaluation_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    # Why it was made: posted, champion_changed, champion_invalid.
    _text("cause"),
    _text("gate"),
    _text("sentence"),
    _json("aggregates"),
    Column("judged_cells", Integer, nullable=False),
    Column("total_cells", Integer, nullable=False),
    # What it was computed from: with these, evaluations, suite versions and policies (which never change) the
    # verdict can be computed again for ever.
    Column("policy_version", Integer, nullable=False),
    Column("baseline_version", Integer, nullable=False),
    Column("baseline_evaluation_id", Uuid),
    _json("input"),
    _at("created_at"),
    PrimaryKeyConstraint("project_id", "evaluation_id", "number"),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
    ForeignKeyConstraint(["project_id", "policy_version"], ["policy.project_id", "policy.version"]),
    Index(None, "project_id", "baseline_evaluation_id"),
)

check_result = Table(
    "check_result",
    metadata,
    _project(),
    Column("evaluation_id", Uuid, nullable=False),
    Column("assessment", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    _text("rule"),
    _text("metric", nullable=True),
    _text("group_name", nullable=True),
    _text("outcome"),
    Column("required", Boolean, nullable=False),
    _text("reason", nullable=True),
    # JSON rather than text[]: a one-dimensional array column cannot be filled from unnest() of ragged arrays.
    _json("notes"),
    Column("baseline", Double),
    Column("candidate", Double),
    Column("worsening", Double),
    Column("limit", Double),
    _json("detail"),
    PrimaryKeyConstraint("project_id", "evaluation_id", "assessment", "ordinal"),
    ForeignKeyConstraint(
        ["project_id", "evaluation_id", "assessment"],
        ["assessment.project_id", "assessment.evaluation_id", "assessment.number"],
    ),
)

baseline = Table(
    "baseline",
    metadata,
    _project(),
    Column("suite_id", Uuid, nullable=False),
    _text("stage"),
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
    _project(),
    Column("suite_id", Uuid, nullable=False),
    _text("stage"),
    # The pointer's version after the event.
    Column("version", Integer, nullable=False),
    _text("kind"),
    Column("evaluation_id", Uuid),
    Column("previous_evaluation_id", Uuid),
    # For rollback and invalidate: the event whose champion was taken back; None when the seat fell vacant.
    Column("to_version", Integer),
    _text("actor"),
    _text("reason", nullable=True),
    Column("policy_version", Integer),
    _text("gate", nullable=True),
    # The verdict's sentence and the limits not met, as decided at that moment.
    _json("detail"),
    _at("created_at"),
    PrimaryKeyConstraint("project_id", "suite_id", "stage", "version"),
    ForeignKeyConstraint(
        ["project_id", "suite_id", "stage"], ["baseline.project_id", "baseline.suite_id", "baseline.stage"]
    ),
    _one_of("kind", "kind", "promote", "bootstrap", "override", "rollback", "invalidate"),
)

leaderboard_row = Table(
    "leaderboard_row",
    metadata,
    _project(),
    Column("suite_id", Uuid, nullable=False),
    _text("stage"),
    Column("evaluation_id", Uuid, nullable=False),
    _text("metric"),
    _text("group_name"),
    Column("suite_version", Integer, nullable=False),
    # Digest of what the number means (dataset, split, protocol, metric, group): equal digests may be ranked together.
    Column("cell", LargeBinary, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("recipe", LargeBinary, nullable=False),
    Column("value", Double, nullable=False),
    _text("bound"),
    Column("n", BigInteger),
    # 0 exact and finite, 1 only a bound, 2 not finite; then ascending is best first, whatever the direction.
    Column("sort_class", SmallInteger, nullable=False),
    Column("sort_key", Double, nullable=False),
    Column("is_latest", Boolean, nullable=False),
    # Whether run and evaluation are valid and the run is not archived.
    Column("eligible", Boolean, nullable=False),
    PrimaryKeyConstraint("project_id", "evaluation_id", "metric", "group_name"),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
    Index(None, "project_id", "run_id"),
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
)

alert = Table(
    "alert",
    metadata,
    _project(),
    Column("id", Uuid, nullable=False),
    Column("suite_id", Uuid, nullable=False),
    _text("stage"),
    # `group:<run group>` or `run:<run id>`.
    _text("subject"),
    _text("kind"),
    _text("state"),
    _text("level"),
    _text("title"),
    _json("lines"),
    # How many evaluations of the subject failed this way.
    Column("count", Integer, nullable=False),
    # The newest evaluation that the state follows from (Position: attempt, step, evaluation).
    Column("evaluation_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    _at("opened_at"),
    _at("updated_at"),
    _at("resolved_at", nullable=True),
    _text("changed_by", nullable=True),
    _text("reason", nullable=True),
    _at("muted_until", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "suite_id", "stage", "subject", "kind"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    _one_of("state", "state", "open", "acknowledged", "muted", "resolved"),
    _one_of("level", "level", "info", "warn", "error"),
    Index(None, "id"),
    Index(None, "project_id", "state", "updated_at", "id"),
)

sink = Table(
    "sink",
    metadata,
    _project(),
    _text("name"),
    _text("kind"),
    Column("enabled", Boolean, nullable=False),
    _at("created_at"),
    PrimaryKeyConstraint("project_id", "name"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

outbox_message = Table(
    "outbox_message",
    metadata,
    _project(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    _text("sink"),
    _text("topic"),
    # Messages with the same key are delivered in the order of their ids: the run's id, mostly.
    _text("order_key"),
    _json("payload"),
    _at("created_at"),
    _at("available_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Who holds it; a worker whose lease ran out may not mark it any more.
    Column("lease_id", Uuid),
    _at("lease_until", nullable=True),
    _at("delivered_at", nullable=True),
    _at("buried_at", nullable=True),
    _text("last_error", nullable=True),
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
)

audit_event = Table(
    "audit_event",
    metadata,
    # The nil UUID stands for the server itself.
    _project(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("reason", nullable=True),
    Column("policy_version", Integer),
    _json("detail"),
    PrimaryKeyConstraint("project_id", "id"),
)
