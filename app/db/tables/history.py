"""A run's history: streams of numbered records, kept as blocks of columns.

Books that always balance: `stream.next_idx = stored + rejected + gaps`, held by a constraint.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

stream = Table(
    "stream",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    # Drawn by the client, one a writer process, never used again.
    Column("id", Uuid, nullable=False),
    # The attempt that it writes for, by number.
    Column("attempt", Integer, nullable=False),
    text_column("role"),
    Column("rank", Integer, nullable=False),
    # Every record below is settled: stored, rejected or a gap.
    Column("next_idx", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("gaps", BigInteger, nullable=False),
    # What the client says: how many records it has numbered, and what it dropped before that, by reason.
    Column("logged", BigInteger, nullable=False),
    json_column("dropped"),
    # Blocks of records below were looked through for small ones to merge.
    Column("compacted_to", BigInteger, nullable=False, server_default=text("0")),
    at_column("created_at"),
    at_column("last_seen_at"),
    PrimaryKeyConstraint("project_id", "run_id", "id"),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
    one_of("role", "role", "train", "attach"),
    CheckConstraint("next_idx = stored + rejected + gaps", name="books"),
)

record_gap = Table(
    "record_gap",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    # Records [first, until) never came.
    Column("first", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    text_column("reason"),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "run_id", "stream_id", "first"),
    CheckConstraint("first < until", name="range"),
)

record_reject = Table(
    "record_reject",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("idx", BigInteger, nullable=False),
    text_column("code"),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx"),
)

run_event = Table(
    "run_event",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    # The nil UUID and a number of our own for what the service itself notes, such as that a run was lost.
    Column("stream_id", Uuid, nullable=False),
    Column("idx", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    at_column("at"),
    Column("step", BigInteger),
    text_column("kind"),
    text_column("level"),
    text_column("title"),
    json_column("detail"),
    PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx"),
    one_of("level", "level", "info", "warn", "error"),
    Index(None, "project_id", "run_id", "at", "stream_id", "idx"),
)

ttc_step = Table(
    "ttc_step",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("idx", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    at_column("at"),
    Column("step", BigInteger, nullable=False),
    # Of the candidates, in their order.
    Column("rewards", ARRAY(Double), nullable=False),
    Column("chosen", Integer, nullable=False),
    PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx"),
    CheckConstraint("chosen >= 0 AND chosen < cardinality(rewards)", name="chosen"),
    Index(None, "project_id", "run_id", "step", "idx"),
)

run_image = Table(
    "run_image",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    # Made of the stream's id and the record's number, so that a record has one address for ever.
    Column("id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("idx", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    at_column("at"),
    Column("step", BigInteger),
    text_column("name"),
    text_column("caption"),
    # What the bytes say, not what anybody called them.
    text_column("content_type"),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    # SHA-256 of the data.
    Column("digest", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("project_id", "run_id", "id"),
    one_of("content_type", "content_type", "image/png", "image/jpeg"),
)

metric_series = Table(
    "metric_series",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    text_column("name"),
    # Empty where the dimension was not given.
    text_column("group_name"),
    text_column("stage"),
    text_column("split"),
    Column("rank", Integer, nullable=False),
    PrimaryKeyConstraint("project_id", "run_id", "id"),
    UniqueConstraint(
        "project_id",
        "run_id",
        "name",
        "group_name",
        "stage",
        "split",
        "rank",
        name="uq_metric_series_what",
    ),
    ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"]),
    Index(None, "project_id", "name", "run_id"),
)

metric_summary = Table(
    "metric_summary",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    # Points of this attempt before the step at which a later attempt took over.
    Column("count", BigInteger, nullable=False),
    Column("non_finite", BigInteger, nullable=False),
    # By step; the later record where two have the same step.
    Column("first_step", BigInteger, nullable=False),
    Column("first_value", Double, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("last_value", Double, nullable=False),
    # Of finite values; NULL where there is none.
    Column("min_step", BigInteger),
    Column("min_value", Double),
    Column("max_step", BigInteger),
    Column("max_value", Double),
    PrimaryKeyConstraint("project_id", "run_id", "attempt", "series_id"),
)

record_block = Table(
    "record_block",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    # Of its records, which need not be all in between.
    Column("first_idx", BigInteger, nullable=False),
    Column("last_idx", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    # Regular steps are start + i * stride; others are listed.
    Column("step_start", BigInteger),
    Column("step_stride", BigInteger),
    Column("steps", ARRAY(BigInteger)),
    # Seconds since 1970, by the writer's clock.
    Column("times", ARRAY(Double), nullable=False),
    Column("min_step", BigInteger, nullable=False),
    Column("max_step", BigInteger, nullable=False),
    PrimaryKeyConstraint("project_id", "run_id", "id"),
    CheckConstraint("(steps IS NULL) = (step_start IS NOT NULL AND step_stride IS NOT NULL)", name="steps"),
)

metric_chunk = Table(
    "metric_chunk",
    metadata,
    project_column(),
    Column("run_id", Uuid, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    Column("block_id", BigInteger, nullable=False),
    # As many as the block has records, in its order. No foreign keys: each would cost a look-up a row.
    Column("values", ARRAY(Double), nullable=False),
    PrimaryKeyConstraint("project_id", "run_id", "series_id", "block_id"),
)
