"""Alerts: following the newest evaluation of their subject, and what people do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db import Session, assessments, audit, locks, outbox
from app.db import alerts as db
from app.db.alerts import AlertRow, Newest, Subject
from app.domain.access import Action, Actor, require
from app.domain.alerts import (
    AlertDraft,
    AlertKind,
    State,
    changed_by_person,
    draft_override,
    drafts_from,
    fold,
)
from app.domain.evaluations import Position
from app.domain.outcomes import Verdict
from app.errors import NotFound
from app.services.announcements import alert_changed
from app.services.documents import checked_text

_NOBODYS = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A subject whose alerts may have to follow, and its suite's key for their titles."""

    subject: Subject
    suite_key: str


def causes_of(verdict: Verdict) -> list[str]:
    """Kinds of alert that a verdict gives cause for, sorted."""
    return sorted(draft.kind.value for draft in drafts_from(verdict, "", "", ""))


def lock_subjects(session: Session, watched: Iterable[Watched]) -> None:
    """Be the only one who changes alerts of these subjects until the transaction ends.

    Two runs of one group post at the same time: neither would see the other's evaluation, and the older of the
    two could have the last word.
    """
    locks.own(session, *(each.subject.lock_key for each in watched))


def settle(
    session: Session,
    watched: Watched,
    *,
    known: Mapping[UUID, Verdict],
    now: datetime,
    only_resolve: bool = False,
    newest: Newest | None = None,
) -> None:
    """Let the subject's alerts follow its newest valid candidate; the subject is locked.

    Where no candidate is left that is valid, the alerts stay as they are: that a claim was withdrawn does not mean
    that somebody has looked.

    Args:
        known: Newest verdicts by evaluation, as far as they are at hand; others are read.
        only_resolve: Open nothing and rewrite nothing; for verdicts that were given again, about which nobody is
            to be disturbed.
        newest: The subject's newest valid candidate, where it is known.
    """
    subject = watched.subject
    newest = newest or db.newest_candidate(session, subject)
    if newest is None:
        return
    current = db.of_subject(session, subject)
    current.pop(AlertKind.OVERRIDE, None)
    drafts = _drafts(session, watched, newest, known)
    if not current and not drafts:
        return
    counts = db.failing_counts(session, subject)
    messages = []
    for kind in sorted(current.keys() | drafts.keys()):
        before, draft = current.get(kind), drafts.get(kind)
        if only_resolve and draft is not None:
            continue
        after = fold(
            before,
            newest_position=newest.position,
            newest_draft=draft,
            failing_count=counts.get(kind.value, 0),
            now=now,
        )
        if after is not None and after != before:
            alert_id = db.store(session, subject, after, run_id=newest.run_id)
            messages.append(alert_changed(alert_id, after))
    outbox.write(session, project_id=subject.project_id, messages=messages, now=now)


def alert_override(
    session: Session,
    watched: Watched,
    *,
    verdict: Verdict,
    run_key: str,
    position: Position,
    reason: str,
    now: datetime,
) -> None:
    """Say that somebody made a champion past the gate; only a person resolves this. The subject is locked."""
    subject = watched.subject
    before = db.of_subject(session, subject).get(AlertKind.OVERRIDE)
    fresh = fold(
        None,
        newest_position=position,
        newest_draft=draft_override(verdict, run_key, watched.suite_key, subject.stage, reason),
        failing_count=1 if before is None else before.count + 1,
        now=now,
    )
    if fresh is None:
        raise AssertionError("a draft makes an alert")
    alert_id = db.store(session, subject, fresh, run_id=subject.run_id)
    outbox.write(session, project_id=subject.project_id, messages=[alert_changed(alert_id, fresh)], now=now)


def change_alert(
    session: Session,
    actor: Actor,
    *,
    alert_id: UUID,
    state: State,
    until: datetime | None = None,
    reason: str | None = None,
    now: datetime,
) -> AlertRow:
    """Acknowledge, mute until a time, resolve, or open again.

    Raises:
        NotFound: There is none, or it is another project's: the same words for both.
        InvalidInput: As `domain.alerts.changed_by_person`.
    """
    row = alert_for(session, actor, alert_id=alert_id, action=Action.ALERT_CHANGE)
    locked = db.lock_one(session, project_id=row.project_id, alert_id=row.id)
    if locked is None:
        raise NotFound(f"no alert {alert_id}; alerts are listed under their project")
    said = checked_text(reason, field="reason") if reason else None
    wanted = changed_by_person(locked.alert, state=state, until=until, reason=said, by=actor.name, now=now)
    changed = replace(locked, alert=wanted)
    db.store_row(session, changed)
    audit.write(
        session,
        project_id=row.project_id,
        actor=actor.name,
        action=Action.ALERT_CHANGE,
        subject=f"alert {row.id}",
        reason=said,
        detail={
            "before": locked.alert.state.value,
            "after": wanted.state.value,
            "until": None if until is None else until.isoformat(),
        },
        now=now,
    )
    outbox.write(session, project_id=row.project_id, messages=[alert_changed(row.id, wanted)], now=now)
    return changed


def alert_for(session: Session, actor: Actor, *, alert_id: UUID, action: Action) -> AlertRow:
    """The alert, not locked, if the actor may do `action` to it."""
    row = db.everywhere(session, alert_id)
    try:
        require(actor, action, project=row.project_id if row else _NOBODYS, run=row.run_id if row else None)
    except NotFound:
        row = None
    if row is None:
        raise NotFound(f"no alert {alert_id}; alerts are listed under their project")
    return row


def _drafts(
    session: Session, watched: Watched, newest: Newest, known: Mapping[UUID, Verdict]
) -> dict[AlertKind, AlertDraft]:
    if not newest.causes:
        return {}
    verdict = known.get(newest.evaluation_id) or assessments.load_verdict(
        session,
        project_id=watched.subject.project_id,
        evaluation_id=newest.evaluation_id,
        number=newest.assessment,
    )
    drafts = drafts_from(verdict, newest.run_key, watched.suite_key, watched.subject.stage)
    return {draft.kind: draft for draft in drafts if draft.kind.value in newest.causes}
