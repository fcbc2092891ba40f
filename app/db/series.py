"""Series of a run, and what their summaries tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from app.db.tables import attempt, metric_series, metric_summary, record_gap, run_event, stream
from app.domain.history import Series, Summary

_DIMENSIONS = (
    metric_series.c.name,
    metric_series.c.group_name,
    metric_series.c.stage,
    metric_series.c.split,
    metric_series.c.rank,
)
_ORDER = (
    metric_series.c.name.collate("C"),
    metric_series.c.group_name.collate("C"),
    metric_series.c.stage.collate("C"),
    metric_series.c.split.collate("C"),
    metric_series.c.rank,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFilter:
    """Which series; None asks for nothing, the empty text for the dimension not being given."""

    names: tuple[str, ...] | None = None
    prefix: str | None = None
    group: str | None = None
    stage: str | None = None
    split: str | None = None
    rank: int | None = None


def find(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    where: SeriesFilter,
    limit: int,
    after: Series | None = None,
) -> list[tuple[int, Series]]:
    """(id, series) by name and dimensions; `after` is the last of the page before."""
    query = (
        select(metric_series.c.id, *_DIMENSIONS)
        .where(
            metric_series.c.project_id == project_id,
            metric_series.c.run_id == run_id,
            *_conditions(where),
        )
        .order_by(*_ORDER)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*_ORDER) > tuple(after))
    return [(row[0], Series(*row[1:])) for row in session.execute(query)]


def summaries_of(
    session: Session, *, project_id: UUID, run_id: UUID, ids: Iterable[int]
) -> dict[int, list[tuple[int, Summary]]]:
    """(attempt, summary) of each series, oldest attempt first."""
    query = (
        select(metric_summary)
        .where(
            metric_summary.c.project_id == project_id,
            metric_summary.c.run_id == run_id,
            metric_summary.c.series_id.in_(sorted(set(ids))),
        )
        .order_by(metric_summary.c.series_id, metric_summary.c.attempt)
    )
    found: dict[int, list[tuple[int, Summary]]] = {}
    for row in session.execute(query).mappings():
        found.setdefault(row["series_id"], []).append((row["attempt"], _summary(row)))
    return found


def summaries_of_runs(
    session: Session, *, project_id: UUID, run_ids: Sequence[UUID], names: Sequence[str]
) -> dict[UUID, dict[str, list[Summary]]]:
    """By run and metric (of the whole, not of groups): summaries by attempt, oldest first."""
    query = (
        select(metric_series.c.name, metric_summary)
        .join(
            metric_summary,
            (metric_summary.c.project_id == metric_series.c.project_id)
            & (metric_summary.c.run_id == metric_series.c.run_id)
            & (metric_summary.c.series_id == metric_series.c.id),
        )
        .where(
            metric_series.c.project_id == project_id,
            metric_series.c.run_id.in_(sorted(set(run_ids))),
            metric_series.c.name.in_(sorted(set(names))),
            metric_series.c.group_name == "",
        )
        .order_by(metric_summary.c.run_id, metric_summary.c.attempt, metric_summary.c.last_step)
    )
    found: dict[UUID, dict[str, list[Summary]]] = {}
    for row in session.execute(query).mappings():
        found.setdefault(row["run_id"], {}).setdefault(row["name"], []).append(_summary(row))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One start of a run's training."""

    number: int
    attempt_id: UUID
    status: str
    started_at: datetime
    heartbeat_at: datetime | None
    ended_at: datetime | None
    error: str | None
    exit_code: int | None
    resume_step: int | None
    first_step: int | None

    @property
    def began(self) -> int | None:
        """The step that it began at, as far as it is known."""
        return self.first_step if self.resume_step is None else self.resume_step


def attempts_of(session: Session, *, project_id: UUID, run_id: UUID) -> list[AttemptRow]:
    """A run's attempts by number."""
    columns = [attempt.c[name] for name in AttemptRow.__dataclass_fields__]
    query = select(*columns).where(attempt.c.project_id == project_id, attempt.c.run_id == run_id)
    return [AttemptRow(**row) for row in session.execute(query.order_by(attempt.c.number)).mappings()]


def streams_of(session: Session, *, project_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
    """A run's streams, the oldest first."""
    query = (
        select(stream)
        .where(stream.c.project_id == project_id, stream.c.run_id == run_id)
        .order_by(stream.c.created_at, stream.c.id)
    )
    return [dict(row) for row in session.execute(query).mappings()]


def gaps_of(session: Session, *, project_id: UUID, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """What never came, by stream and record."""
    query = (
        select(record_gap)
        .where(record_gap.c.project_id == project_id, record_gap.c.run_id == run_id)
        .order_by(record_gap.c.stream_id, record_gap.c.first)
        .limit(limit)
    )
    return [dict(row) for row in session.execute(query).mappings()]


def events_of(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    kind: str | None,
    limit: int,
    after: tuple[datetime, UUID, int] | None = None,
) -> list[dict[str, Any]]:
    """A run's events, newest first; `after`: (at, stream, idx) of the last one before."""
    place = (run_event.c.at, run_event.c.stream_id, run_event.c.idx)
    query: Select[Any] = (
        select(run_event)
        .where(run_event.c.project_id == project_id, run_event.c.run_id == run_id)
        .order_by(*(column.desc() for column in place))
        .limit(limit)
    )
    if kind is not None:
        query = query.where(run_event.c.kind == kind)
    if after is not None:
        query = query.where(tuple_(*place) < after)
    return [dict(row) for row in session.execute(query).mappings()]


def _conditions(where: SeriesFilter) -> list[ColumnElement[bool]]:
    columns = metric_series.c
    equal: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (columns.group_name, where.group),
            (columns.stage, where.stage),
            (columns.split, where.split),
            (columns.rank, where.rank),
        )
        if value is not None
    ]
    if where.names is not None:
        equal.append(columns.name.in_(sorted(set(where.names))))
    if where.prefix is not None:
        equal.append(columns.name.startswith(where.prefix, autoescape=True))
    return equal


def _summary(row: Any) -> Summary:
    return Summary(**{name: row[name] for name in Summary.__dataclass_fields__})
