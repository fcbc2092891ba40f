"""Suites, their versions, and policies."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)

from app.db.columns import at_column, json_column, metadata, project_column, text_column

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
