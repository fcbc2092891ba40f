"""What is owed to sinks, for people: looked through, tried again, discarded."""

from __future__ import annotations

from datetime import datetime

from app.db import Session, audit, sinks
from app.db import deliveries as db
from app.db.deliveries import DeliveryRow, DeliveryState
from app.db.projects import ProjectRow
from app.domain.access import Action, Actor
from app.errors import Conflict, NotFound
from app.services.documents import checked_text
from app.services.projects import project_for


def list_deliveries(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    limit: int,
    state: DeliveryState | None = None,
    sink: str | None = None,
    topic: str | None = None,
    before: int | None = None,
) -> list[DeliveryRow]:
    """The newest first; as `db.deliveries.page`."""
    project = project_for(session, actor, key=project_key, action=Action.SINK_READ)
    return db.page(
        session, project_id=project.id, limit=limit, state=state, sink=sink, topic=topic, before=before
    )


def retry_delivery(
    session: Session, actor: Actor, *, project_key: str, delivery_id: int, now: datetime
) -> DeliveryRow:
    """Let it be tried at once, with all its tries before it; a pause of its sink is over.

    It goes before what is owed after it in its order; what has been delivered meanwhile is not delivered again.

    Raises:
        Conflict: It has arrived, is being delivered just now, or its sink is disabled or gone.
    """
    project = project_for(session, actor, key=project_key, action=Action.DELIVERY_RETRY)
    row = _undelivered(session, project, delivery_id)
    if row.is_under_way:
        raise Conflict(f"delivery {delivery_id} is being tried just now; look again in a minute")
    if not any(each.name == row.sink and each.enabled for each in sinks.of_project(session, project.id)):
        raise Conflict(f"sink {row.sink!r} is disabled or gone; enable it first, or discard the delivery")
    again = db.owe_again(session, project_id=project.id, delivery_id=delivery_id)
    sinks.end_pause(session, project_id=project.id, name=row.sink)
    _note(session, actor, project, row, action=Action.DELIVERY_RETRY, reason=None, now=now)
    return again


def discard_delivery(
    session: Session, actor: Actor, *, project_key: str, delivery_id: int, reason: str, now: datetime
) -> DeliveryRow:
    """Owe it no longer; the audit trail keeps what it was. Returns it as it was.

    Raises:
        Conflict: It has arrived.
    """
    project = project_for(session, actor, key=project_key, action=Action.DELIVERY_DISCARD)
    row = _undelivered(session, project, delivery_id)
    said = checked_text(reason, field="reason")
    db.remove(session, project_id=project.id, delivery_id=delivery_id)
    _note(session, actor, project, row, action=Action.DELIVERY_DISCARD, reason=said, now=now)
    return row


def _undelivered(session: Session, project: ProjectRow, delivery_id: int) -> DeliveryRow:
    row = db.lock_one(session, project_id=project.id, delivery_id=delivery_id)
    if row is None:
        raise NotFound(f"no delivery {delivery_id} in this project; deliveries are listed under it")
    if row.state is DeliveryState.DELIVERED:
        raise Conflict(f"delivery {delivery_id} has arrived; there is nothing left to do")
    return row


def _note(
    session: Session,
    actor: Actor,
    project: ProjectRow,
    row: DeliveryRow,
    *,
    action: Action,
    reason: str | None,
    now: datetime,
) -> None:
    audit.write(
        session,
        project_id=project.id,
        actor=actor.name,
        action=action,
        subject=f"delivery {row.id}",
        reason=reason,
        detail={
            "sink": row.sink,
            "topic": row.topic,
            "order_key": row.order_key,
            "payload": dict(row.payload),
            "state": row.state.value,
            "attempts": row.attempts,
            "last_error": row.last_error,
        },
        now=now,
    )
