"""Moving a champion pointer: the step back, and what every move owes to the audit trail and the sinks."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.db import Session, audit, baselines, outbox, suites
from app.db.baselines import BaselineRow, EventRow, NewEvent
from app.domain.access import Action, Actor
from app.domain.promotion import EventKind, champion_from
from app.services.announcements import baseline_moved, leaderboard_changed

ACTIONS = {
    EventKind.PROMOTE: Action.BASELINE_PROMOTE,
    EventKind.BOOTSTRAP: Action.BASELINE_PROMOTE,
    EventKind.OVERRIDE: Action.BASELINE_OVERRIDE,
    EventKind.ROLLBACK: Action.BASELINE_ROLLBACK,
}


def hand_back(
    session: Session, actor: Actor, pointer: BaselineRow, *, reason: str | None, now: datetime
) -> EventRow | None:
    """Move the pointer if its champion may not be champion any more; the pointer is locked to move.

    Returns:
        The event; None when the champion is fit.
    """
    events = baselines.history(session, pointer)
    unfit = baselines.unfit(session, pointer, events)
    if pointer.evaluation_id is None or str(pointer.evaluation_id) not in unfit:
        return None
    champion, version = champion_from(events, unfit)
    event = baselines.move(
        session,
        pointer,
        NewEvent(
            kind=EventKind.INVALIDATE,
            evaluation_id=None if champion is None else UUID(champion),
            to_version=version,
            actor=actor.name,
            reason=reason,
            policy_version=None,
            gate=None,
            detail={"sentence": step_back(champion, version), "unmet": [], "reasons": []},
            created_at=now,
        ),
    )
    suite_row = suites.at(session, project_id=pointer.project_id, suite_id=pointer.suite_id, version=1)
    tell(session, actor, event, suite_row.key if suite_row else str(pointer.suite_id), now)
    return event


def step_back(champion: str | None, version: int | None) -> str:
    if champion is None:
        return "The seat is vacant: no earlier champion is valid."
    return f"Back to evaluation {champion}, champion of event {version}."


def tell(session: Session, actor: Actor, event: EventRow, suite_key: str, now: datetime) -> None:
    """One audit row and the messages for one event."""
    audit.write(
        session,
        project_id=event.project_id,
        actor=actor.name,
        action=ACTIONS.get(EventKind(event.kind), Action.VALIDITY_CHANGE),
        subject=f"baseline {suite_key}/{event.stage}",
        reason=event.reason,
        policy_version=event.policy_version,
        detail={
            "version": event.version,
            "kind": event.kind,
            "evaluation": None if event.evaluation_id is None else str(event.evaluation_id),
        },
        now=now,
    )
    messages = [baseline_moved(event), leaderboard_changed(event.suite_id, event.stage)]
    outbox.write(session, project_id=event.project_id, messages=messages, now=now)
