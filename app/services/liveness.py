"""Trainings that fall silent, speak again, or run twice at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from app.db import Session, attempts, runs
from app.db.runs import RunRow
from app.domain.alerts import AlertKind, Level
from app.domain.liveness import LOST_AFTER, STALE_AFTER, Status, after_silence, is_rivalled
from app.services.run_alerts import raise_alert, settle_alert

LOST = "lost"
_ATTEMPTS = "attempts"


def mark_silent(session: Session, *, now: datetime, listening_for: timedelta, limit: int) -> int:
    """Make some silent attempts stale, then lost; returns how many changed.

    Locks: one run after the other, its attempt, its alerts.

    Args:
        listening_for: For how long the service has been able to hear anybody. Silence while nobody could be heard says
            nothing.
    """
    if listening_for < STALE_AFTER:
        return 0
    silent = attempts.silent(session, since=now - STALE_AFTER, statuses=(Status.RUNNING,), limit=limit)
    if listening_for >= LOST_AFTER:
        silent += attempts.silent(
            session, since=now - LOST_AFTER, statuses=(Status.RUNNING, Status.STALE), limit=limit
        )
    changed = 0
    for run_id in sorted({(each.project_id, each.run_id) for each in silent}):
        numbers = sorted({each.number for each in silent if (each.project_id, each.run_id) == run_id})
        changed += _mark(session, run_id[0], run_id[1], numbers, now, listening_for)
    return changed


def heard_again(session: Session, run: RunRow, *, number: int, before: Status, now: datetime) -> None:
    """An attempt that was stale or lost has spoken; run and attempt are locked.

    Args:
        before: What it was taken for.
    """
    attempts.set_status(
        session, project_id=run.project_id, run_id=run.id, number=number, status=Status.RUNNING
    )
    if before is Status.LOST:
        _note(session, run, number, "found", "info", f"attempt {number} was heard of again", now)
        settle_alert(session, run, about=LOST, now=now)


def ended(session: Session, run: RunRow, *, now: datetime) -> None:
    """The newest attempt ended as it should, or a newer one began: nobody is lost any more."""
    settle_alert(session, run, about=LOST, now=now)


def watch_rivals(
    session: Session, run: RunRow, *, number: int, spoke_at: datetime, newer_began_at: datetime, now: datetime
) -> None:
    """Warn, once a run, when an older attempt still trains beside the newest one.

    Args:
        number: The older attempt.
        spoke_at: When its newest record was made.
    """
    if not is_rivalled(spoke_at=spoke_at, newer_began_at=newer_began_at):
        return
    text = (
        f"attempt {number} still logs although attempt {run.newest_attempt} of run {run.key} has begun; "
        "its points are kept under its own attempt and change nothing. Stop one of the two processes."
    )
    if raise_alert(
        session,
        run,
        about=f"{_ATTEMPTS}/{number}",
        kind=AlertKind.ATTEMPTS,
        level=Level.WARN,
        title=f"{run.key}: two attempts at once",
        text=text,
        once=True,
        now=now,
    ):
        _note(session, run, number, "two_attempts", "warn", text, now)


def _mark(
    session: Session,
    project_id: UUID,
    run_id: UUID,
    numbers: list[int],
    now: datetime,
    listening_for: timedelta,
) -> int:
    run = runs.lock(session, project_id=project_id, run_id=run_id)
    if run is None:
        return 0
    changed = 0
    for number in numbers:
        heard = attempts.lock(session, project_id=project_id, run_id=run_id, number=number)
        if heard is None or heard.heartbeat_at is None:
            continue
        silence = min(now - heard.heartbeat_at, listening_for)
        after = after_silence(heard.status, silence)
        if after is heard.status:
            continue
        attempts.set_status(session, project_id=project_id, run_id=run_id, number=number, status=after)
        changed += 1
        if after is Status.LOST:
            _tell_lost(session, run, number, heard.heartbeat_at, now)
    return changed


def _tell_lost(session: Session, run: RunRow, number: int, heartbeat_at: datetime, now: datetime) -> None:
    last = heartbeat_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    text = f"nothing was heard of attempt {number} of run {run.key} since {last}"
    _note(session, run, number, LOST, "warn", text, now)
    if number == run.newest_attempt:
        raise_alert(
            session,
            run,
            about=LOST,
            kind=AlertKind.LOST,
            level=Level.WARN,
            title=f"{run.key}: lost, silent for {LOST_AFTER.total_seconds() / 60:g} minutes",
            text=text,
            now=now,
        )


def _note(
    session: Session, run: RunRow, number: int, kind: str, level: str, title: str, now: datetime
) -> None:
    attempts.note(
        session,
        project_id=run.project_id,
        run_id=run.id,
        number=number,
        kind=kind,
        level=level,
        title=title,
        now=now,
    )
