"""Projects, tokens, what each project keeps for how long, and the audit trail."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
    func,
)

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

retention = Table(
    "retention",
    metadata,
    project_column(),
    # How many days something is kept; NULL is for ever. A project without a row has the defaults of domain/retention.
    Column("archived_days", Integer),
    Column("progress_evaluations_days", Integer),
    Column("delivered_messages_days", Integer),
    Column("resolved_alerts_days", Integer),
    # Points and events of runs that have ended; their summaries stay.
    Column("history_days", Integer),
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
