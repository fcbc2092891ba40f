"""What is owed and what waits, as `/metrics` and `/readyz` tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.tables import alert, outbox_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    owed: int
    retried: int
    buried: int
    open_alerts: int
    oldest_owed_seconds: float


def counts(session: Session, *, now: datetime) -> Counts:
    row = session.execute(
        select(
            func.count().filter(_OWED),
            func.count().filter(
                _OWED & (outbox_message.c.attempts > 0) & outbox_message.c.last_error.is_not(None)
            ),
            func.count().filter(outbox_message.c.buried_at.is_not(None)),
            func.min(outbox_message.c.created_at).filter(_OWED),
            # Delivered messages are most of the table.
        ).where(outbox_message.c.delivered_at.is_(None))
    ).one()
    alerts = session.execute(select(func.count()).where(alert.c.state != "resolved")).scalar_one()
    return Counts(
        owed=row[0],
        retried=row[1],
        buried=row[2],
        open_alerts=alerts,
        oldest_owed_seconds=_age(row[3], now),
    )


def oldest_owed_seconds(session: Session, *, now: datetime) -> float:
    """For how long the message has waited that has waited longest; zero when nothing is owed."""
    oldest = session.execute(select(func.min(outbox_message.c.created_at)).where(_OWED)).scalar_one()
    return _age(oldest, now)


_OWED = outbox_message.c.delivered_at.is_(None) & outbox_message.c.buried_at.is_(None)


def _age(then: datetime | None, now: datetime) -> float:
    return 0.0 if then is None else max(0.0, (now - then).total_seconds())
