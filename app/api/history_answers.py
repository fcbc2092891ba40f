"""What the service answers about a run's history."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.api.answers import Answer, Document


class MetricAnswer(Answer):
    metric: str
    group: str | None
    stage: str | None
    split: str | None
    rank: int
    # None for all of the run's attempts together.
    attempt: int | None
    count: int
    non_finite: int
    first: float
    first_step: int
    last: float
    last_step: int
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None


class AttemptAnswer(Answer):
    attempt: int
    attempt_id: UUID
    status: str
    started_at: datetime
    heartbeat_at: datetime | None
    ended_at: datetime | None
    error: str | None
    exit_code: int | None
    resume_step: int | None
    first_step: int | None
    cut: int | None


class StreamAnswer(Answer):
    stream_id: UUID
    attempt: int
    role: str
    rank: int
    logged: int
    stored: int
    rejected: int
    gaps: int
    in_flight: int
    dropped: Document
    lost: list[Document]
    created_at: datetime
    last_seen_at: datetime


class StreamsAnswer(Answer):
    items: list[StreamAnswer]


class RunEventAnswer(Answer):
    at: datetime
    attempt: int
    step: int | None
    kind: str
    level: str
    title: str
    detail: Document


class RejectedRecordAnswer(Answer):
    idx: int
    code: str


class RecordsAnswer(Answer):
    next_idx: int
    rejected: list[RejectedRecordAnswer]
    server_time: datetime
    stop: bool
