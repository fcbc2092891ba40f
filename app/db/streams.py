"""Streams of records: where each stands, its gaps, what was rejected, and what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.engine import dump_strictly
from app.db.tables import record_gap, record_reject, run_event, stream
from app.domain.history import Batch, Event, Gap
from app.domain.liveness import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """A locked stream, with what its run and attempt were at that moment.

    Args:
        next_idx: Every record below is settled.
        attempt_id: As the writer calls the attempt.
        policy_version: The newest.
        began: The step that the attempt began at: resume_step, else the first it logged; None when not known yet.
    """

    project_id: UUID
    run_id: UUID
    run_key: str
    id: UUID
    attempt: int
    attempt_id: UUID
    role: str
    rank: int
    next_idx: int
    newest_attempt: int
    is_archived: bool
    stop_requested: bool
    attempt_status: Status
    heartbeat_at: datetime | None
    began: int | None
    policy_version: int


def connection_of(session: Session) -> psycopg.Connection[Any]:
    """The driver's own connection, inside the session's transaction, for statements that SQLAlchemy would slow down."""
    found: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    return found


_LOCK = """
SELECT s.project_id, s.run_id, r.key, s.id, s.attempt, a.attempt_id, s.role, s.rank, s.next_idx, r.newest_attempt,
       r.archived_at IS NOT NULL, r.stop_requested, a.status, a.heartbeat_at, coalesce(a.resume_step, a.first_step),
       (SELECT max(version) FROM policy WHERE policy.project_id = r.project_id)
FROM run r
JOIN stream s ON s.project_id = r.project_id AND s.run_id = r.id AND s.id = %s
JOIN attempt a ON a.project_id = s.project_id AND a.run_id = s.run_id AND a.number = s.attempt
WHERE r.id = %s FOR NO KEY UPDATE OF s
"""


def lock(session: Session, *, run_id: UUID, stream_id: UUID) -> StreamRow | None:
    """The stream, locked against every other writer until the transaction ends."""
    row = connection_of(session).execute(_LOCK, (stream_id, run_id)).fetchone()
    if row is None:
        return None
    return StreamRow(
        project_id=row[0],
        run_id=row[1],
        run_key=row[2],
        id=row[3],
        attempt=row[4],
        attempt_id=row[5],
        role=row[6],
        rank=row[7],
        next_idx=row[8],
        newest_attempt=row[9],
        is_archived=row[10],
        stop_requested=row[11],
        attempt_status=Status(row[12]),
        heartbeat_at=row[13],
        began=row[14],
        policy_version=row[15],
    )


def open_stream(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    stream_id: UUID,
    attempt: int,
    role: str,
    rank: int,
    now: datetime,
) -> None:
    """Make the stream, unless somebody else has done so this moment, whom this waits for."""
    session.execute(
        insert(stream)
        .values(
            project_id=project_id,
            run_id=run_id,
            id=stream_id,
            attempt=attempt,
            role=role,
            rank=rank,
            next_idx=0,
            stored=0,
            rejected=0,
            gaps=0,
            logged=0,
            dropped={},
            created_at=now,
            last_seen_at=now,
        )
        .on_conflict_do_nothing()
    )


_ADVANCE = """
UPDATE stream SET next_idx = %s, stored = stored + %s, rejected = rejected + %s, gaps = gaps + %s,
       dropped = CASE WHEN %s >= logged THEN %s::jsonb ELSE dropped END, logged = greatest(logged, %s, %s),
       last_seen_at = %s
WHERE project_id = %s AND run_id = %s AND id = %s
"""


def advance(session: Session, row: StreamRow, batch: Batch, *, now: datetime) -> None:
    """Settle every record of the batch, which begins at the locked stream's next_idx; the books stay balanced."""
    rejected = len(batch.rejected)
    stored = batch.until - batch.first - rejected - batch.lost
    following = max(row.next_idx, batch.until)
    said = dump_strictly(dict(batch.dropped))
    connection_of(session).execute(
        _ADVANCE,
        (
            *(following, stored, rejected, batch.lost),
            *(batch.logged, said, batch.logged, following, now),
            *(row.project_id, row.run_id, row.id),
        ),
    )


def insert_gaps(session: Session, row: StreamRow, gaps: Iterable[Gap], *, now: datetime) -> None:
    here = {"project_id": row.project_id, "run_id": row.run_id, "stream_id": row.id, "created_at": now}
    written = [{**here, "first": gap.idx, "until": gap.until, "reason": gap.reason} for gap in gaps]
    if written:
        session.execute(insert(record_gap), written)


def insert_rejects(session: Session, row: StreamRow, rejected: Mapping[int, str], *, now: datetime) -> None:
    here = {"project_id": row.project_id, "run_id": row.run_id, "stream_id": row.id, "created_at": now}
    written = [{**here, "idx": idx, "code": code} for idx, code in sorted(rejected.items())]
    if written:
        session.execute(insert(record_reject), written)


def rejects_between(session: Session, row: StreamRow, first: int, until: int) -> dict[int, str]:
    """Records of [first, until) that were rejected before, to say so again."""
    query = (
        select(record_reject.c.idx, record_reject.c.code)
        .where(
            record_reject.c.project_id == row.project_id,
            record_reject.c.run_id == row.run_id,
            record_reject.c.stream_id == row.id,
            record_reject.c.idx >= first,
            record_reject.c.idx < until,
        )
        .order_by(record_reject.c.idx)
    )
    return {row.idx: row.code for row in session.execute(query)}


def insert_events(
    session: Session, row: StreamRow, events: Iterable[tuple[Event, Mapping[str, Any]]]
) -> None:
    """Args:
    events: Each with its detail as a JSON column takes it.
    """
    written = [
        {
            "project_id": row.project_id,
            "run_id": row.run_id,
            "stream_id": row.id,
            "idx": event.idx,
            "attempt": row.attempt,
            "at": datetime.fromtimestamp(event.time, UTC),
            "step": event.step,
            "kind": event.kind[:256],
            "level": event.level,
            "title": event.title,
            "detail": dict(detail),
        }
        for event, detail in events
    ]
    if written:
        session.execute(insert(run_event), written)
