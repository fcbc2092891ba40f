"""What is owed and what waits, as `/metrics` and `/readyz` tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.tables import alert, outbox_message, sink
from app.domain.sinks import SinkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCounts:
    """Of all sinks of one kind that are enabled; what a disabled one is owed is nobody's lag.

    Args:
        retried: Of the owed messages, the ones whose last try failed.
        paused: How many sinks take nothing for now.
        oldest_owed_seconds: For how long the message has waited that has waited longest; zero when nothing is owed.
    """

    kind: str
    owed: int = 0
    retried: int = 0
    buried: int = 0
    paused: int = 0
    oldest_owed_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """All of it; the sums are over kinds of sinks."""

    kinds: Sequence[KindCounts]
    open_alerts: int

    @property
    def owed(self) -> int:
        return sum(each.owed for each in self.kinds)

    @property
    def retried(self) -> int:
        return sum(each.retried for each in self.kinds)

    @property
    def buried(self) -> int:
        return sum(each.buried for each in self.kinds)

    @property
    def oldest_owed_seconds(self) -> float:
        return max((each.oldest_owed_seconds for each in self.kinds), default=0.0)


def counts(session: Session, *, now: datetime) -> Counts:
    alerts = session.execute(select(func.count()).where(alert.c.state != "resolved")).scalar_one()
    return Counts(kinds=counts_by_kind(session, now=now), open_alerts=alerts)


def counts_by_kind(session: Session, *, now: datetime) -> list[KindCounts]:
    """One for each kind that there is, by name."""
    message = outbox_message
    is_owed = message.c.buried_at.is_(None)
    is_tried = (message.c.attempts > 0) & message.c.last_error.is_not(None)
    undelivered = (
        select(
            sink.c.kind,
            func.count().filter(is_owed).label("owed"),
            func.count().filter(is_owed, is_tried).label("retried"),
            func.count().filter(~is_owed).label("buried"),
            func.min(message.c.created_at).filter(is_owed).label("oldest"),
        )
        .join(sink, (sink.c.project_id == message.c.project_id) & (sink.c.name == message.c.sink))
        # Delivered messages are most of the table.
        .where(message.c.delivered_at.is_(None), sink.c.enabled)
        .group_by(sink.c.kind)
    )
    found = {row.kind: row for row in session.execute(undelivered)}
    is_paused = sink.c.enabled & (sink.c.paused_until > now)
    pauses = session.execute(
        select(sink.c.kind, func.count().label("paused")).where(is_paused).group_by(sink.c.kind)
    )
    paused = {row.kind: row.paused for row in pauses}
    return [
        KindCounts(
            kind=kind.value,
            owed=row.owed if (row := found.get(kind)) else 0,
            retried=row.retried if row else 0,
            buried=row.buried if row else 0,
            paused=paused.get(kind, 0),
            oldest_owed_seconds=_age(row.oldest if row else None, now),
        )
        for kind in sorted(SinkKind)
    ]


def _age(then: datetime | None, now: datetime) -> float:
    return 0.0 if then is None else max(0.0, (now - then).total_seconds())
