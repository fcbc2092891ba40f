"""What a sink's receivers were told of, so that the same news is not told again and again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.outbox import ClaimedMessage, Topic
from app.db.tables import notice_told, outbox_message
from app.domain.alerts import Level

# No cool-down is longer.
_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Within the cool-down.

    Args:
        age: How long ago.
    """

    level: Level
    age: timedelta


def lately(
    session: Session, *, project_id: UUID, sink: str, subjects: Collection[str], within: timedelta
) -> dict[str, Told]:
    """Which of the subjects the sink has told within that time, by the database's clock."""
    age = func.now() - notice_told.c.told_at
    query = select(notice_told.c.subject, notice_told.c.level, age).where(
        notice_told.c.project_id == project_id,
        notice_told.c.sink == sink,
        notice_told.c.subject.in_(sorted(subjects)),
        notice_told.c.told_at > func.now() - within,
    )
    return {subject: Told(level=Level(level), age=since) for subject, level, since in session.execute(query)}


def note(session: Session, *, project_id: UUID, sink: str, subjects: Mapping[str, Level]) -> None:
    """They were told just now; forgets what no cool-down asks for any more."""
    here = (notice_told.c.project_id == project_id, notice_told.c.sink == sink)
    session.execute(delete(notice_told).where(*here, notice_told.c.told_at < func.now() - _KEPT))
    rows = [
        {"project_id": project_id, "sink": sink, "subject": subject, "level": subjects[subject].value}
        for subject in sorted(subjects)
    ]
    if not rows:
        return
    statement = insert(notice_told).values([{**row, "told_at": func.now()} for row in rows])
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["project_id", "sink", "subject"],
            set_={"level": statement.excluded.level, "told_at": statement.excluded.told_at},
        )
    )


def owed_alerts(session: Session, message: ClaimedMessage, *, limit: int) -> list[UUID]:
    """The alerts that the message's sink owes news of, the oldest first; the message's own is one of them."""
    query = (
        select(outbox_message.c.payload["alert"].astext)
        .where(
            outbox_message.c.project_id == message.project_id,
            outbox_message.c.sink == message.sink,
            outbox_message.c.topic == Topic.ALERT_CHANGED.value,
            outbox_message.c.delivered_at.is_(None),
            outbox_message.c.buried_at.is_(None),
        )
        .order_by(outbox_message.c.id)
        .limit(limit)
    )
    return list(dict.fromkeys(UUID(text) for text in session.execute(query).scalars()))
