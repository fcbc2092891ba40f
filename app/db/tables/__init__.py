"""Every table, as SQLAlchemy Core; the only other place that knows their shape is `migrations/`.

The primary key of every table that grows begins with the project, so that it can be partitioned or
distributed by project without a redesign. Times are `timestamptz`; constraints are named by the convention in
`columns`. `float8` columns may hold NaN and ±∞; JSON columns may not, so non-finite numbers are written there
as strings.
"""

from __future__ import annotations

from app.db.columns import metadata
from app.db.tables.accounts import audit_event, project, retention, token
from app.db.tables.champions import baseline, baseline_event, leaderboard_row, seed_set
from app.db.tables.deliveries import alert, notice_told, outbox_message, sink
from app.db.tables.evaluations import assessment, check_result, evaluation, evaluation_value
from app.db.tables.history import (
    metric_chunk,
    metric_series,
    metric_summary,
    record_block,
    record_gap,
    record_reject,
    run_event,
    run_image,
    stream,
    ttc_step,
)
from app.db.tables.runs import attempt, run
from app.db.tables.suites import policy, suite, suite_version

__all__ = [
    "alert",
    "assessment",
    "attempt",
    "audit_event",
    "baseline",
    "baseline_event",
    "check_result",
    "evaluation",
    "evaluation_value",
    "leaderboard_row",
    "metadata",
    "metric_chunk",
    "metric_series",
    "metric_summary",
    "notice_told",
    "outbox_message",
    "policy",
    "project",
    "record_block",
    "record_gap",
    "record_reject",
    "retention",
    "run",
    "run_event",
    "run_image",
    "seed_set",
    "sink",
    "stream",
    "suite",
    "suite_version",
    "token",
    "ttc_step",
]
