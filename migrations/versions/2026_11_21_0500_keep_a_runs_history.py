"""Keep a run's history: streams of records, blocks of columns, series with running summaries, attempts that live."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0006"
down_revision = "0005"

_STATUSES = "status IN ('running', 'stale', 'lost', 'finished', 'failed', 'preempted')"


# For tools that read SQL: a line for each point. `counts` is false for what a later attempt left behind.
_VIEW = """
CREATE VIEW metric_point AS
SELECT p.key AS project, r.key AS run, r.id AS run_id, b.attempt, s.name AS metric,
       nullif(s.group_name, '') AS group_name, nullif(s.stage, '') AS stage, nullif(s.split, '') AS split, s.rank,
       u.step, to_timestamp(u.time) AS at, u.value,
       u.step < cut.step OR cut.step IS NULL AS counts
FROM metric_chunk c
JOIN record_block b ON b.project_id = c.project_id AND b.run_id = c.run_id AND b.id = c.block_id
JOIN metric_series s ON s.project_id = c.project_id AND s.run_id = c.run_id AND s.id = c.series_id
JOIN run r ON r.project_id = c.project_id AND r.id = c.run_id
JOIN project p ON p.id = c.project_id
CROSS JOIN LATERAL (
    SELECT min(coalesce(a.resume_step, a.first_step)) AS step FROM attempt a
    WHERE a.project_id = c.project_id AND a.run_id = c.run_id AND a.number > b.attempt
) cut
CROSS JOIN LATERAL unnest(
    coalesce(b.steps, ARRAY(SELECT b.step_start + i * b.step_stride FROM generate_series(0, b.count - 1) i)),
    b.times,
    c."values"
) AS u(step, time, value)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    # Together, and given up before Postgres looks for a deadlock (1 s), of which a request could be the victim.
    op.execute("SET LOCAL lock_timeout = '300ms'")
    op.execute("LOCK TABLE run, attempt, retention")
    op.execute("SET LOCAL lock_timeout = '5s'")
    _widen_runs()
    _widen_attempts()
    op.add_column("retention", sa.Column("history_days", sa.Integer()))
    _create_streams()
    _create_points()
    _lay_out()
    op.execute(_VIEW)


def _widen_runs() -> None:
    op.add_column(
        "run", sa.Column("summary", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'{}'"))
    )
    op.add_column(
        "run", sa.Column("stop_requested", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    # Wider than before, so no row needs to be looked at while the table is locked.
    op.drop_constraint(op.f("ck_run_status"), "run", type_="check")
    op.execute(f"ALTER TABLE run ADD CONSTRAINT ck_run_status CHECK ({_STATUSES}) NOT VALID")
    op.execute("ALTER TABLE run VALIDATE CONSTRAINT ck_run_status")


def _widen_attempts() -> None:
    op.add_column(
        "attempt", sa.Column("status", sa.Text(), nullable=False, server_default=sa.text("'running'"))
    )
    op.add_column("attempt", sa.Column("heartbeat_at", sa.DateTime(timezone=True)))
    op.add_column("attempt", sa.Column("ended_at", sa.DateTime(timezone=True)))
    op.add_column("attempt", sa.Column("error", sa.Text()))
    op.add_column("attempt", sa.Column("exit_code", sa.Integer()))
    op.add_column("attempt", sa.Column("resume_step", sa.BigInteger()))
    op.add_column("attempt", sa.Column("first_step", sa.BigInteger()))
    op.create_check_constraint(op.f("ck_attempt_status"), "attempt", _STATUSES)
    # What is known of attempts that ended before they had a status of their own.
    op.execute(
        "UPDATE attempt SET status = run.status FROM run WHERE run.project_id = attempt.project_id"
        " AND run.id = attempt.run_id AND run.newest_attempt = attempt.number AND run.status <> 'running'"
    )
    op.create_index(
        "ix_attempt_live",
        "attempt",
        ["heartbeat_at", "project_id", "run_id", "number"],
        postgresql_where=sa.text("status IN ('running', 'stale')"),
    )


def _create_streams() -> None:
    op.create_table(
        "stream",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("next_idx", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("gaps", sa.BigInteger(), nullable=False),
        sa.Column("logged", sa.BigInteger(), nullable=False),
        sa.Column("dropped", JSONB(none_as_null=True), nullable=False),
        sa.Column("compacted_to", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('train', 'attach')", name=op.f("ck_stream_ck_stream_role")),
        sa.CheckConstraint("next_idx = stored + rejected + gaps", name=op.f("ck_stream_ck_stream_books")),
        sa.ForeignKeyConstraint(["project_id", "run_id"], ["run.project_id", "run.id"], name="fk_stream_run"),
        sa.PrimaryKeyConstraint("project_id", "run_id", "id", name="pk_stream"),
    )
    op.create_table(
        "record_gap",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("first < until", name=op.f("ck_record_gap_ck_record_gap_range")),
        sa.PrimaryKeyConstraint("project_id", "run_id", "stream_id", "first", name="pk_record_gap"),
    )
    op.create_table(
        "record_reject",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx", name="pk_record_reject"),
    )
    op.create_table(
        "run_event",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("idx", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("detail", JSONB(none_as_null=True), nullable=False),
        sa.CheckConstraint(
            "level IN ('info', 'warn', 'error')", name=op.f("ck_run_event_ck_run_event_level")
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", "stream_id", "idx", name="pk_run_event"),
    )
    op.create_index(
        "ix_run_event_project_id_run_id_at_stream_id_idx",
        "run_event",
        ["project_id", "run_id", "at", "stream_id", "idx"],
    )


def _create_points() -> None:
    op.create_table(
        "metric_series",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"], ["run.project_id", "run.id"], name="fk_metric_series_run"
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", "id", name="pk_metric_series"),
        sa.UniqueConstraint(
            "project_id",
            "run_id",
            "name",
            "group_name",
            "stage",
            "split",
            "rank",
            name="uq_metric_series_what",
        ),
    )
    op.create_index(
        "ix_metric_series_project_id_name_run_id", "metric_series", ["project_id", "name", "run_id"]
    )
    op.create_table(
        "metric_summary",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("non_finite", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("first_value", sa.Double(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("last_value", sa.Double(), nullable=False),
        sa.Column("min_step", sa.BigInteger()),
        sa.Column("min_value", sa.Double()),
        sa.Column("max_step", sa.BigInteger()),
        sa.Column("max_value", sa.Double()),
        sa.PrimaryKeyConstraint("project_id", "run_id", "attempt", "series_id", name="pk_metric_summary"),
    )
    op.create_table(
        "record_block",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("first_idx", sa.BigInteger(), nullable=False),
        sa.Column("last_idx", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("step_start", sa.BigInteger()),
        sa.Column("step_stride", sa.BigInteger()),
        sa.Column("steps", ARRAY(sa.BigInteger())),
        sa.Column("times", ARRAY(sa.Double()), nullable=False),
        sa.Column("min_step", sa.BigInteger(), nullable=False),
        sa.Column("max_step", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(steps IS NULL) = (step_start IS NOT NULL AND step_stride IS NOT NULL)",
            name=op.f("ck_record_block_ck_record_block_steps"),
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", "id", name="pk_record_block"),
    )
    op.create_table(
        "metric_chunk",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("series_id", sa.BigInteger(), nullable=False),
        sa.Column("block_id", sa.BigInteger(), nullable=False),
        sa.Column("values", ARRAY(sa.Double()), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "run_id", "series_id", "block_id", name="pk_metric_chunk"),
    )


def _lay_out() -> None:
    """How the rows lie on the disk."""
    # Changed with every batch: room in the page keeps the change there, without touching an index.
    op.execute("ALTER TABLE metric_summary SET (fillfactor = 60)")
    op.execute("ALTER TABLE stream SET (fillfactor = 50)")
    # Numbers hardly shrink, and trying takes longer than writing them as they are.
    op.execute('ALTER TABLE metric_chunk ALTER COLUMN "values" SET STORAGE EXTERNAL')
    op.execute("ALTER TABLE record_block ALTER COLUMN times SET STORAGE EXTERNAL")
