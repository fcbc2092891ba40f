"""Whether the database is fit to be trusted, and what is owed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import migrate
from app.db.tables import alert, outbox_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    owed: int
    buried: int
    open_alerts: int
    oldest_owed_seconds: float


def problems(session: Session) -> list[str]:
    """Why the service should not be used with this database; empty when it may."""
    if not migrate.is_fit(session.connection()):
        return ["the schema is not this release's; run: truerun-server migrate"]
    return []


def counts(session: Session, *, now: datetime) -> Counts:
    owed = outbox_message.c.delivered_at.is_(None) & outbox_message.c.buried_at.is_(None)
    row = session.execute(
        select(
            func.count().filter(owed),
            func.count().filter(outbox_message.c.buried_at.is_not(None)),
            func.min(outbox_message.c.created_at).filter(owed),
        )
    ).one()
    alerts = session.execute(select(func.count()).where(alert.c.state != "resolved")).scalar_one()
    oldest = row[2]
    return Counts(
        owed=row[0],
        buried=row[1],
        open_alerts=alerts,
        oldest_owed_seconds=0.0 if oldest is None else max(0.0, (now - oldest).total_seconds()),
    )
