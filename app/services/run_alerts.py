"""Raising and settling alerts about a run's training."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.db import Session, locks, outbox
from app.db import alerts as db
from app.db.runs import RunRow
from app.domain.alerts import AlertKind, AlertState, Level
from app.domain.run_alerts import MOST_PER_RUN, raised, settled
from app.services.announcements import alert_changed


def raise_alert(
    session: Session,
    run: RunRow,
    *,
    about: str,
    kind: AlertKind,
    level: Level,
    title: str,
    text: str,
    once: bool = False,
    now: datetime,
) -> bool:
    """Let a person see it; whether it was raised.

    Locks: the alerts of the run, last of all.

    Args:
        about: What makes it the same alert when it is raised again, unique in the run.
        once: Say nothing when it was ever raised before.
    """
    _lock(session, run)
    current = db.of_run(session, project_id=run.project_id, run_id=run.id, about=about)
    if current is not None and once:
        return False
    if current is None and kind is AlertKind.RUN:
        held = db.count_of_run(session, project_id=run.project_id, run_id=run.id)
        if held >= MOST_PER_RUN:
            return False
    _store(session, run, about, raised(current, kind=kind, level=level, title=title, text=text, now=now), now)
    return True


def settle_alert(session: Session, run: RunRow, *, about: str, now: datetime) -> None:
    """Resolve it, if it is there: its cause went away by itself."""
    _lock(session, run)
    current = db.of_run(session, project_id=run.project_id, run_id=run.id, about=about)
    after = settled(current, now=now)
    if after is not None and after != current:
        _store(session, run, about, after, now)


def _lock(session: Session, run: RunRow) -> None:
    locks.own(session, db.lock_key_of_run(run.project_id, run.id))


def _store(session: Session, run: RunRow, about: str, wanted: AlertState, now: datetime) -> None:
    alert_id: UUID = db.store_of_run(
        session, project_id=run.project_id, run_id=run.id, about=about, wanted=wanted
    )
    outbox.write(session, project_id=run.project_id, messages=[alert_changed(alert_id, wanted)], now=now)
