"""Attempts as they live and fall silent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import attempt, run, run_event
from app.domain.liveness import Status

# Events that the service itself notes come from no stream.
OF_THE_SERVICE = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """An attempt that nothing was heard of for a while."""

    project_id: UUID
    run_id: UUID
    number: int
    status: Status
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An attempt's status and when it was last heard of."""

    number: int
    status: Status
    started_at: datetime
    heartbeat_at: datetime | None


def silent(session: Session, *, since: datetime, statuses: tuple[Status, ...], limit: int) -> list[Silent]:
    """Attempts of these statuses not heard of since, the longest silent first."""
    query = (
        select(
            attempt.c.project_id,
            attempt.c.run_id,
            attempt.c.number,
            attempt.c.status,
            attempt.c.heartbeat_at,
        )
        .where(
            attempt.c.status.in_([status.value for status in statuses]),
            attempt.c.status.in_([Status.RUNNING.value, Status.STALE.value]),
            attempt.c.heartbeat_at < since,
        )
        .order_by(attempt.c.heartbeat_at, attempt.c.project_id, attempt.c.run_id, attempt.c.number)
        .limit(limit)
    )
    return [
        Silent(
            project_id=row.project_id,
            run_id=row.run_id,
            number=row.number,
            status=Status(row.status),
            heartbeat_at=row.heartbeat_at,
        )
        for row in session.execute(query)
    ]


def lock(session: Session, *, project_id: UUID, run_id: UUID, number: int) -> Heard | None:
    """The attempt, locked; its run is locked before."""
    query = (
        select(attempt.c.number, attempt.c.status, attempt.c.started_at, attempt.c.heartbeat_at)
        .where(*_here(project_id, run_id, number))
        .with_for_update()
    )
    row = session.execute(query).first()
    if row is None:
        return None
    return Heard(
        number=row.number,
        status=Status(row.status),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
    )


def hear(session: Session, *, project_id: UUID, run_id: UUID, number: int, now: datetime) -> None:
    """Note that the attempt was heard of; never back in time."""
    session.execute(
        update(attempt)
        .where(*_here(project_id, run_id, number))
        .values(heartbeat_at=func.greatest(attempt.c.heartbeat_at, now))
    )


def end(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    number: int,
    at: datetime,
    error: str | None,
    exit_code: int | None,
) -> None:
    """Note how an attempt ended."""
    session.execute(
        update(attempt)
        .where(*_here(project_id, run_id, number))
        .values(ended_at=at, error=error, exit_code=exit_code)
    )


def set_status(session: Session, *, project_id: UUID, run_id: UUID, number: int, status: Status) -> None:
    """Change an attempt's status, and its run's where it is the newest; both are locked."""
    session.execute(update(attempt).where(*_here(project_id, run_id, number)).values(status=status.value))
    session.execute(
        update(run)
        .where(run.c.project_id == project_id, run.c.id == run_id, run.c.newest_attempt == number)
        .values(status=status.value)
    )


def note(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    number: int,
    kind: str,
    level: str,
    title: str,
    now: datetime,
) -> None:
    """Write an event of the service's own; the run is locked, so that its number is free."""
    here = (
        run_event.c.project_id == project_id,
        run_event.c.run_id == run_id,
        run_event.c.stream_id == OF_THE_SERVICE,
    )
    following = select(func.coalesce(func.max(run_event.c.idx) + 1, 0)).where(*here).scalar_subquery()
    session.execute(
        insert(run_event).values(
            project_id=project_id,
            run_id=run_id,
            stream_id=OF_THE_SERVICE,
            idx=following,
            attempt=number,
            at=now,
            kind=kind,
            level=level,
            title=title,
            detail={},
        )
    )


def _here(project_id: UUID, run_id: UUID, number: int) -> tuple[ColumnElement[bool], ...]:
    return (
        attempt.c.project_id == project_id,
        attempt.c.run_id == run_id,
        attempt.c.number == number,
    )
