"""Runs and their attempts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

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
    # What the training said of itself as a whole: the newest attempt's patches, laid one over the other.
    json_column("summary", server_default=text("'{}'")),
    # Somebody asked it to end; the training hears of it and decides.
    Column("stop_requested", Boolean, nullable=False, server_default=text("false")),
    text_column("validity"),
    text_column("validity_reason", nullable=True),
    at_column("created_at"),
    text_column("created_by"),
    at_column("updated_at"),
    at_column("archived_at", nullable=True),
    PrimaryKeyConstraint("project_id", "id"),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(["project_id"], ["project.id"]),
    one_of("status", "status", "running", "stale", "lost", "finished", "failed", "preempted"),
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
    # As for runs; a run's status is its newest attempt's.
    text_column("status", server_default=text("'running'")),
    # When any of its training streams was last heard of; NULL before the first record.
    at_column("heartbeat_at", nullable=True),
    at_column("ended_at", nullable=True),
    # Why it failed or was preempted, as the training said, without secrets.
    text_column("error", nullable=True),
    Column("exit_code", Integer),
    # The step it went on from, where the training said so; else the first that it logged.
    Column("resume_step", BigInteger),
    Column("first_step", BigInteger),
    PrimaryKeyConstraint("project_id", "run_id", "number"),
    UniqueConstraint("project_id", "run_id", "attempt_id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
    one_of("status", "status", "running", "stale", "lost", "finished", "failed", "preempted"),
    # Attempts that may fall silent.
    Index(
        "ix_attempt_live",
        "heartbeat_at",
        "project_id",
        "run_id",
        "number",
        postgresql_where=text("status IN ('running', 'stale')"),
    ),
)
