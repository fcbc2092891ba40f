"""Validity: what is no longer believed leaves leaderboards and baselines, and may be given back, never crowned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from app.db import Session, audit, baselines, evaluations, leaderboards, outbox, runs, suites
from app.db.alerts import Subject
from app.db.baselines import Seats
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.domain.access import Action, Actor
from app.domain.evaluations import Validity
from app.errors import InvalidInput, NotFound
from app.services.alerts import Watched, lock_subjects, settle
from app.services.announcements import leaderboard_changed, run_validity
from app.services.documents import checked_text
from app.services.evaluations import evaluation_for
from app.services.runs import run_for
from app.services.seats import hand_back
from app.services.siblings import move_rivals, move_rivals_of, move_sets


def mark_run(
    session: Session, actor: Actor, *, run_id: UUID, mark: Validity, reason: str | None, now: datetime
) -> RunRow:
    """Mark a run valid, suspect or invalid; saying what is known already changes nothing.

    Invalid: its rows leave the leaderboards, its gates close, every crown it wears is handed back, alerts follow what
    is left of their subject. What was measured against it is stale from now on and is judged again by the worker.
    Suspect is shown everywhere and closes nothing. Valid gives back what invalid took, but never a crown.

    Locks: the run, its seed sets, the pointers of its boards and of every board it was ever champion of, its alerts'
    subjects.

    Raises:
        InvalidInput: A run is not doubted without a reason.
    """
    said = _checked_reason(mark, reason)
    found = run_for(session, actor, run_id=run_id, action=Action.VALIDITY_CHANGE)
    run = _locked(session, found.project_id, found.id)
    if (run.validity, run.validity_reason) == (mark.value, _kept(mark, said)):
        return run
    marked = replace(run, validity=mark.value, validity_reason=_kept(mark, said), updated_at=now)
    boards = evaluations.boards_of_run(session, project_id=run.project_id, run_id=run.id)
    is_believed_otherwise = Validity.INVALID in (mark, Validity(run.validity))
    seats = _lock_seats(session, run, boards, moves=is_believed_otherwise)
    runs.update_run(session, marked)
    leaderboards.follow_run(session, project_id=run.project_id, run_id=run.id)
    if is_believed_otherwise:
        _step_back(session, actor, run, seats, reason=said, now=now)
    _follow(session, marked, boards, now=now)
    _tell(session, actor, marked, None, run.validity, mark, said, boards, now)
    return marked


def mark_evaluation(
    session: Session,
    actor: Actor,
    *,
    evaluation_id: UUID,
    mark: Validity,
    reason: str | None,
    now: datetime,
) -> EvaluationRow:
    """The same for one evaluation; its run's previous valid candidate becomes the latest again."""
    said = _checked_reason(mark, reason)
    found = evaluation_for(session, actor, evaluation_id=evaluation_id, action=Action.VALIDITY_CHANGE)
    run = _locked(session, found.project_id, found.run_id)
    row = evaluations.by_id(session, project_id=found.project_id, evaluation_id=found.id) or found
    if (row.validity, row.validity_reason) == (mark.value, _kept(mark, said)):
        return row
    boards = [(row.suite_id, row.stage)]
    is_believed_otherwise = Validity.INVALID in (mark, Validity(row.validity))
    seats = _lock_seats(session, run, boards, moves=is_believed_otherwise, evaluation_id=row.id)
    evaluations.set_validity(
        session, project_id=row.project_id, evaluation_id=row.id, validity=mark, reason=_kept(mark, said)
    )
    evaluations.mark_latest(
        session, project_id=row.project_id, run_id=run.id, suite_id=row.suite_id, stage=row.stage
    )
    leaderboards.follow_run(session, project_id=run.project_id, run_id=run.id)
    if is_believed_otherwise:
        _step_back(session, actor, run, seats, reason=said, now=now)
    _follow(session, run, boards, now=now)
    _tell(session, actor, run, row, row.validity, mark, said, boards, now)
    return evaluations.by_id(session, project_id=row.project_id, evaluation_id=row.id) or row


def _lock_seats(
    session: Session,
    run: RunRow,
    boards: list[tuple[UUID, str]],
    *,
    moves: bool,
    evaluation_id: UUID | None = None,
) -> Seats:
    """Every pointer that may depend on the run, after its seed sets.

    Args:
        moves: Whether those lose or regain a member: what was valid or suspect is invalid, or the reverse.
    """
    if moves:
        move_sets(session, boards, project_id=run.project_id, recipes=[run.recipe])
    return baselines.lock_seats_of(
        session, project_id=run.project_id, run_id=run.id, evaluation_id=evaluation_id, boards=boards
    )


def _step_back(
    session: Session, actor: Actor, run: RunRow, seats: Seats, *, reason: str | None, now: datetime
) -> None:
    """Hand back the crowns that may not be worn any more, and let everybody be judged by who is left."""
    # Found while the former champions still are what they were, or again are: both have been champions here.
    move_rivals_of(session, seats.others, [run.recipe])
    for seat in seats.worn:
        hand_back(session, actor, seat, reason=reason, now=now)
        # A former champion counts, or no longer counts, among those that nobody may creep away from.
        move_rivals(session, seat)


def _checked_reason(mark: Validity, reason: str | None) -> str | None:
    said = checked_text(reason, field="reason").strip() if reason else ""
    if not said and mark is not Validity.VALID:
        raise InvalidInput(f"why is it {mark}? The reason is shown wherever it is", field="reason")
    return said or None


def _kept(mark: Validity, reason: str | None) -> str | None:
    """A restored thing carries no stain; why it was restored is in the audit trail."""
    return None if mark is Validity.VALID else reason


def _locked(session: Session, project_id: UUID, run_id: UUID) -> RunRow:
    run = runs.lock(session, project_id=project_id, run_id=run_id)
    if run is None:
        raise NotFound(f"no run {run_id}; runs are listed under their project, look there for its id")
    return run


def _follow(session: Session, run: RunRow, boards: list[tuple[UUID, str]], *, now: datetime) -> None:
    """Let the alerts of the run's subject follow what is left to believe."""
    watched = []
    for suite_id, stage in boards:
        suite = suites.at(session, project_id=run.project_id, suite_id=suite_id, version=1)
        subject = Subject(
            project_id=run.project_id,
            suite_id=suite_id,
            stage=stage,
            run_id=run.id,
            run_group=run.run_group,
        )
        watched.append(Watched(subject=subject, suite_key=suite.key if suite else str(suite_id)))
    lock_subjects(session, watched)
    for each in sorted(watched, key=lambda each: each.subject.lock_key):
        settle(session, each, known={}, now=now)


def _tell(
    session: Session,
    actor: Actor,
    run: RunRow,
    row: EvaluationRow | None,
    before: str,
    mark: Validity,
    reason: str | None,
    boards: list[tuple[UUID, str]],
    now: datetime,
) -> None:
    audit.write(
        session,
        project_id=run.project_id,
        actor=actor.name,
        action=Action.VALIDITY_CHANGE,
        subject=f"run {run.key}" if row is None else f"evaluation {row.id}",
        reason=reason,
        detail={"before": before, "after": mark.value},
        now=now,
    )
    evaluation_id = None if row is None else row.id
    messages = [run_validity(run_id=run.id, evaluation_id=evaluation_id, validity=mark.value)]
    messages += [leaderboard_changed(suite_id, stage) for suite_id, stage in boards]
    outbox.write(session, project_id=run.project_id, messages=messages, now=now)
