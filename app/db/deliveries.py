"""Deliveries as people see them: the rows of the outbox, by state, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, case, delete, func, literal, select, update
from sqlalchemy.orm import Session

from app.db.tables import outbox_message


class DeliveryState(StrEnum):
    OWED = "owed"
    # Owed, and its last try failed.
    FAILING = "failing"
    BURIED = "buried"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A message on its way.

    Args:
        available_at: Not tried before, while it is owed.
        is_under_way: Whether a worker holds it.
        attempts: Tries so far; 0 for one that was settled together with another.
        mirrored: What W&B holds since it arrived, one object for each of its runs.
    """

    id: int
    sink: str
    topic: str
    order_key: str
    payload: Mapping[str, Any]
    state: DeliveryState
    is_under_way: bool
    attempts: int
    created_at: datetime
    available_at: datetime
    delivered_at: datetime | None
    buried_at: datetime | None
    last_error: str | None
    receipt: str | None
    mirrored: Sequence[Mapping[str, Any]]


_OWED = outbox_message.c.delivered_at.is_(None) & outbox_message.c.buried_at.is_(None)
_TRIED = (outbox_message.c.attempts > 0) & outbox_message.c.last_error.is_not(None)
_WHERE: dict[DeliveryState, ColumnElement[bool]] = {
    DeliveryState.OWED: _OWED,
    DeliveryState.FAILING: _OWED & _TRIED,
    DeliveryState.BURIED: outbox_message.c.buried_at.is_not(None),
    DeliveryState.DELIVERED: outbox_message.c.delivered_at.is_not(None),
}


def page(
    session: Session,
    *,
    project_id: UUID,
    limit: int,
    state: DeliveryState | None = None,
    sink: str | None = None,
    topic: str | None = None,
    before: int | None = None,
) -> list[DeliveryRow]:
    """The newest first.

    Args:
        state: OWED includes FAILING; None is every state.
        before: The id of the last one of the page before.
    """
    query = _select(project_id)
    if state is not None:
        query = query.where(_WHERE[state])
    if sink is not None:
        query = query.where(outbox_message.c.sink == sink)
    if topic is not None:
        query = query.where(outbox_message.c.topic == topic)
    if before is not None:
        query = query.where(outbox_message.c.id < before)
    rows = session.execute(query.order_by(outbox_message.c.id.desc()).limit(limit)).mappings()
    return [_row(row) for row in rows]


def lock_one(session: Session, *, project_id: UUID, delivery_id: int) -> DeliveryRow | None:
    """The delivery, nobody else's to change until the transaction ends."""
    query = _select(project_id).where(outbox_message.c.id == delivery_id).with_for_update()
    row = session.execute(query).mappings().first()
    return None if row is None else _row(row)


def owe_again(session: Session, *, project_id: UUID, delivery_id: int) -> DeliveryRow:
    """Due at once and with all its tries, whether it was buried or only put off; it is locked."""
    session.execute(
        update(outbox_message)
        .where(outbox_message.c.project_id == project_id, outbox_message.c.id == delivery_id)
        .values(buried_at=None, attempts=0, available_at=func.now())
    )
    return _row(
        session.execute(_select(project_id).where(outbox_message.c.id == delivery_id)).mappings().one()
    )


def remove(session: Session, *, project_id: UUID, delivery_id: int) -> None:
    session.execute(
        delete(outbox_message).where(
            outbox_message.c.project_id == project_id, outbox_message.c.id == delivery_id
        )
    )


def discard_undelivered(
    session: Session, *, project_id: UUID, sink: str, even_buried: bool, topic: str | None = None
) -> int:
    """Owe the sink nothing any more, or nothing of a topic; how many messages went.

    A delivery that is under way may still arrive; it just cannot be marked any more.
    """
    is_owed = outbox_message.c.delivered_at.is_(None) if even_buried else _OWED
    is_meant = is_owed if topic is None else is_owed & (outbox_message.c.topic == topic)
    # In the order in which everybody locks them.
    theirs = (
        select(outbox_message.c.id)
        .where(outbox_message.c.project_id == project_id, outbox_message.c.sink == sink, is_meant)
        .order_by(outbox_message.c.id)
        .with_for_update()
    )
    gone = delete(outbox_message).where(
        outbox_message.c.project_id == project_id, outbox_message.c.id.in_(theirs)
    )
    return len(session.execute(gone.returning(outbox_message.c.id)).all())


def _select(project_id: UUID) -> Select[Any]:
    is_held = (outbox_message.c.lease_id.is_not(None)) & (outbox_message.c.lease_until > func.now()) & _OWED
    state = case(
        (_WHERE[DeliveryState.DELIVERED], literal(DeliveryState.DELIVERED.value)),
        (_WHERE[DeliveryState.BURIED], literal(DeliveryState.BURIED.value)),
        (_TRIED, literal(DeliveryState.FAILING.value)),
        else_=literal(DeliveryState.OWED.value),
    )
    return select(
        outbox_message.c.id,
        outbox_message.c.sink,
        outbox_message.c.topic,
        outbox_message.c.order_key,
        outbox_message.c.payload,
        state.label("state"),
        func.coalesce(is_held, literal(value=False)).label("is_under_way"),
        outbox_message.c.attempts,
        outbox_message.c.created_at,
        outbox_message.c.available_at,
        outbox_message.c.delivered_at,
        outbox_message.c.buried_at,
        outbox_message.c.last_error,
        outbox_message.c.receipt,
        outbox_message.c.mirrored,
    ).where(outbox_message.c.project_id == project_id)


def _row(row: RowMapping) -> DeliveryRow:
    return DeliveryRow(
        **{**row, "state": DeliveryState(row["state"]), "mirrored": tuple(row["mirrored"] or ())}
    )
