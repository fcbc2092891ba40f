"""The sinks of a project, and how each is doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import leaderboard_row, outbox_message, sink


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRow:
    """A sink as it is configured.

    Args:
        changed_at, changed_by: None for a sink that is as the project was born with it.
    """

    name: str
    kind: str
    enabled: bool
    settings: Mapping[str, Any]
    paused_until: datetime | None
    paused_because: str | None
    created_at: datetime
    changed_at: datetime | None
    changed_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How a sink is doing.

    Args:
        owed, failing, buried: Messages not delivered yet; of these, the ones whose last try failed; given up.
        oldest_owed_at: When the message was written that has waited longest.
        last_error: Of the newest message that failed and has not arrived since.
    """

    owed: int = 0
    failing: int = 0
    buried: int = 0
    oldest_owed_at: datetime | None = None
    last_delivered_at: datetime | None = None
    last_error: str | None = None


def of_project(session: Session, project_id: UUID) -> list[SinkRow]:
    """By name."""
    columns = [column for column in sink.c if column is not sink.c.project_id]
    query = select(*columns).where(sink.c.project_id == project_id).order_by(sink.c.name.collate("C"))
    return [SinkRow(**row) for row in session.execute(query).mappings()]


def states(session: Session, project_id: UUID) -> dict[str, SinkState]:
    """By name, of every sink of the project."""
    message = outbox_message
    is_owed = message.c.delivered_at.is_(None) & message.c.buried_at.is_(None)
    is_tried = (message.c.attempts > 0) & message.c.last_error.is_not(None)
    undelivered = {
        row.sink: row
        for row in session.execute(
            select(
                message.c.sink,
                func.count().filter(is_owed).label("owed"),
                func.count().filter(is_owed, is_tried).label("failing"),
                func.count().filter(message.c.buried_at.is_not(None)).label("buried"),
                func.min(message.c.created_at).filter(is_owed).label("oldest_owed_at"),
            )
            .where(message.c.project_id == project_id, message.c.delivered_at.is_(None))
            .group_by(message.c.sink)
        )
    }
    of_this_sink = (message.c.project_id == sink.c.project_id) & (message.c.sink == sink.c.name)
    last_delivered_at = select(func.max(message.c.delivered_at)).where(
        of_this_sink, message.c.delivered_at.is_not(None)
    )
    last_error = (
        select(message.c.last_error)
        .where(of_this_sink, message.c.delivered_at.is_(None), message.c.last_error.is_not(None))
        .order_by(message.c.id.desc())
        .limit(1)
    )
    found = {}
    for row in session.execute(
        select(
            sink.c.name,
            last_delivered_at.scalar_subquery().label("last_delivered_at"),
            last_error.scalar_subquery().label("last_error"),
        ).where(sink.c.project_id == project_id)
    ):
        counted = undelivered.get(row.name)
        found[row.name] = SinkState(
            owed=counted.owed if counted else 0,
            failing=counted.failing if counted else 0,
            buried=counted.buried if counted else 0,
            oldest_owed_at=counted.oldest_owed_at if counted else None,
            last_delivered_at=row.last_delivered_at,
            last_error=row.last_error,
        )
    return found


def store(
    session: Session,
    *,
    project_id: UUID,
    name: str,
    kind: str,
    enabled: bool,
    settings: Mapping[str, Any],
    now: datetime,
    by: str,
) -> None:
    """Make or change a sink; a pause of before is over."""
    changes = {
        "kind": kind,
        "enabled": enabled,
        "settings": settings,
        "paused_until": None,
        "paused_because": None,
        "changed_at": now,
        "changed_by": by,
    }
    statement = insert(sink).values(project_id=project_id, name=name, created_at=now, **changes)
    session.execute(statement.on_conflict_do_update(index_elements=["project_id", "name"], set_=changes))


def remove(session: Session, *, project_id: UUID, name: str) -> None:
    session.execute(delete(sink).where(sink.c.project_id == project_id, sink.c.name == name))


def end_pause(session: Session, *, project_id: UUID, name: str) -> None:
    session.execute(
        update(sink)
        .where(sink.c.project_id == project_id, sink.c.name == name, sink.c.paused_until.is_not(None))
        .values(paused_until=None, paused_because=None)
    )


def boards(session: Session, project_id: UUID) -> list[tuple[UUID, str]]:
    """(suite id, stage) of every leaderboard that has rows."""
    query = (
        select(leaderboard_row.c.suite_id, leaderboard_row.c.stage)
        .where(leaderboard_row.c.project_id == project_id)
        .distinct()
        .order_by(leaderboard_row.c.suite_id, leaderboard_row.c.stage)
    )
    return [(row.suite_id, row.stage) for row in session.execute(query)]
