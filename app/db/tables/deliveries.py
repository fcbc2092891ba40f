"""What a person must see, and what is owed to whom."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

alert = Table(
    "alert",
    metadata,
    project_column(),
    Column("id", Uuid, nullable=False),
    # Suite, stage and evaluation are NULL for an alert about a run's training.
    Column("suite_id", Uuid),
    text_column("stage", nullable=True),
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
    Column("evaluation_id", Uuid),
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
    CheckConstraint("(suite_id IS NULL) = (stage IS NULL)", name="place"),
    CheckConstraint("(suite_id IS NULL) = (evaluation_id IS NULL)", name="evidence"),
    Index(None, "id"),
    Index(None, "project_id", "subject"),
    Index(None, "project_id", "state", "updated_at", "id"),
)

sink = Table(
    "sink",
    metadata,
    project_column(),
    text_column("name"),
    text_column("kind"),
    Column("enabled", Boolean, nullable=False),
    # Secrets only by the name of an environment variable.
    json_column("settings", server_default=text("'{}'")),
    # Its receiver refused the credential, or asked for patience: nothing is claimed for it until then.
    at_column("paused_until", nullable=True),
    text_column("paused_because", nullable=True),
    at_column("created_at"),
    at_column("changed_at", nullable=True),
    text_column("changed_by", nullable=True),
    PrimaryKeyConstraint("project_id", "name"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
)

# What a sink's receivers were told of, for its cool-down.
notice_told = Table(
    "notice_told",
    metadata,
    project_column(),
    text_column("sink"),
    text_column("subject"),
    text_column("level"),
    at_column("told_at"),
    PrimaryKeyConstraint("project_id", "sink", "subject"),
    one_of("level", "level", "info", "warn", "error"),
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
    # What the receiver answered that a person wants: the address of a W&B run.
    text_column("receipt", nullable=True),
    # What W&B holds since then, one object for each of its runs.
    json_column("mirrored", nullable=True),
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
    Index(
        "ix_outbox_message_delivered_by_sink",
        "project_id",
        "sink",
        "delivered_at",
        postgresql_where=text("delivered_at IS NOT NULL"),
    ),
    Index(
        "ix_outbox_message_buried",
        "project_id",
        "id",
        postgresql_where=text("buried_at IS NOT NULL"),
    ),
)
