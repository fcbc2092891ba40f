"""Removing what has outlived its project's retention, in small transactions; each leaves an audit row with counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.db import Session, alerts, audit, baselines, evaluations, locks, retention, runs
from app.db import purge as db
from app.db.purge import OldRun
from app.domain.access import Action
from app.domain.retention import Retention

BY = "server (retention)"
# So few that nobody waits for long.
MESSAGES, ALERTS, EVALUATIONS, RUNS = 1000, 100, 100, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Purgeable:
    """What a project's rules would remove at this moment."""

    project: str
    messages: int
    alerts: int
    progress_evaluations: int
    histories: int
    runs: tuple[str, ...]
    run_evaluations: int

    @property
    def is_nothing(self) -> bool:
        return not (self.messages or self.alerts or self.progress_evaluations or self.histories or self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPurged:
    """What became of one page of archived runs.

    Args:
        next_after: Where the next page begins; None when this was the last one.
    """

    runs: int
    evaluations: int
    next_after: tuple[datetime, UUID] | None


def every_project(session: Session) -> list[UUID]:
    return [project_id for project_id, _, _ in retention.of_every_project(session)]


def purge_messages(session: Session, project_id: UUID, *, now: datetime) -> int:
    """Remove some messages that arrived long ago; returns how many, MESSAGES when there may be more."""
    days = retention.of_project(session, project_id).delivered_messages_days
    if days is None:
        return 0
    before = _before(now, days)
    gone = db.delete_delivered(session, project_id=project_id, before=before, limit=MESSAGES)
    return _told(session, project_id, "delivered messages", {"messages": gone}, now, gone)


def purge_alerts(session: Session, project_id: UUID, *, now: datetime) -> int:
    """Remove some alerts that were resolved long ago; returns how many.

    Locks: the alerts' subjects, so that none is opened again at the same moment.
    """
    days = retention.of_project(session, project_id).resolved_alerts_days
    if days is None:
        return 0
    before = _before(now, days)
    subjects = db.resolved_subjects(session, project_id=project_id, before=before, limit=ALERTS)
    _lock_subjects(session, project_id, subjects)
    gone = db.delete_resolved(session, project_id=project_id, before=before, subjects=subjects)
    gone += db.delete_resolved_of_runs(session, project_id=project_id, before=before, limit=ALERTS)
    return _told(session, project_id, "resolved alerts", {"alerts": gone}, now, gone)


def purge_progress(session: Session, project_id: UUID, *, now: datetime) -> int:
    """Remove some of what was measured during training long ago; returns how many evaluations.

    Locks: their runs by id.
    """
    days = retention.of_project(session, project_id).progress_evaluations_days
    if days is None:
        return 0
    before = _before(now, days)
    found = db.old_progress(session, project_id=project_id, before=before, limit=EVALUATIONS)
    if not found:
        return 0
    runs.lock_several(session, project_id=project_id, run_ids=[run_id for _, run_id in found])
    ids = [evaluation_id for evaluation_id, _ in found]
    still = db.old_progress(session, project_id=project_id, before=before, limit=EVALUATIONS, only=ids)
    gone = [evaluation_id for evaluation_id, _ in still]
    db.delete_evaluations(session, project_id=project_id, ids=gone)
    return _told(session, project_id, "progress evaluations", {"evaluations": len(gone)}, now, len(gone))


def purge_histories(session: Session, project_id: UUID, *, now: datetime) -> int:
    """Remove points and events of some runs that ended long ago; returns how many runs.

    Locks: the runs by id, so that none is resumed at the same moment.
    """
    days = retention.of_project(session, project_id).history_days
    if days is None:
        return 0
    before = _before(now, days)
    found = db.old_histories(session, project_id=project_id, before=before, limit=RUNS)
    if not found:
        return 0
    runs.lock_several(session, project_id=project_id, run_ids=[run_id for run_id, _ in found])
    still = db.old_histories(session, project_id=project_id, before=before, limit=RUNS)
    going = {run_id: key for run_id, key in still if (run_id, key) in found}
    db.delete_histories(session, project_id=project_id, run_ids=going)
    counts: dict[str, object] = {"runs": len(going), "keys": sorted(going.values())}
    return _told(session, project_id, "histories", counts, now, len(going))


def purge_runs(
    session: Session,
    project_id: UUID,
    *,
    now: datetime,
    after: tuple[datetime, UUID] | None = None,
    limit: int = EVALUATIONS,
) -> RunsPurged:
    """Remove some runs that were archived long ago, with all they posted; a large one takes several calls.

    Args:
        limit: How many evaluations at most.

    Locks: the runs by id, every pointer of the suites and stages that they posted on, their alerts' subjects. While
    the pointers are held nobody is judged there, so nobody takes up as a seed what is about to go.
    """
    nothing = RunsPurged(runs=0, evaluations=0, next_after=None)
    days = retention.of_project(session, project_id).archived_days
    if days is None:
        return nothing
    before = _before(now, days)
    page = db.old_runs(session, project_id=project_id, before=before, limit=RUNS, after=after)
    if not page:
        return nothing
    following = (page[-1].archived_at, page[-1].id)
    if not _free(session, project_id, page):
        return RunsPurged(runs=0, evaluations=0, next_after=following)
    _lock(session, project_id, page)
    still = db.old_runs(
        session, project_id=project_id, before=before, limit=RUNS, only=[each.id for each in page]
    )
    doomed = _free(session, project_id, still)
    posted = db.evaluations_of(
        session, project_id=project_id, run_ids=[each.id for each in doomed], limit=limit + 1
    )
    gone, more = posted[:limit], posted[limit:]
    # Run by run: what the next call still has to do belongs to the run of the first evaluation left, or to later ones.
    done = [each for each in doomed if not more or each.id < more[0][1]]
    db.delete_evaluations(session, project_id=project_id, ids=[evaluation_id for evaluation_id, _ in gone])
    db.delete_runs(session, project_id=project_id, ids=[each.id for each in done])
    counts = {"runs": len(done), "evaluations": len(gone), "keys": sorted(each.key for each in done)}
    _told(session, project_id, "archived runs", counts, now, len(done) + len(gone))
    return RunsPurged(
        runs=len(done), evaluations=len(gone), next_after=after if more or doomed != page else following
    )


def purgeable(session: Session, *, now: datetime) -> list[Purgeable]:
    """What would go in each project; changes and locks nothing."""
    return [
        _purgeable(session, project_id, key, rules, now)
        for project_id, key, rules in retention.of_every_project(session)
    ]


def _purgeable(session: Session, project_id: UUID, key: str, rules: Retention, now: datetime) -> Purgeable:
    def count(days: int | None, counted: Callable[..., int]) -> int:
        return 0 if days is None else counted(session, project_id=project_id, before=_before(now, days))

    going: list[OldRun] = []
    if rules.archived_days is not None:
        before, after = _before(now, rules.archived_days), None
        while page := db.old_runs(session, project_id=project_id, before=before, limit=RUNS, after=after):
            going += _free(session, project_id, page)
            after = (page[-1].archived_at, page[-1].id)
    return Purgeable(
        project=key,
        messages=count(rules.delivered_messages_days, db.count_delivered),
        alerts=count(rules.resolved_alerts_days, db.count_resolved),
        progress_evaluations=count(rules.progress_evaluations_days, db.count_old_progress),
        histories=0
        if rules.history_days is None
        else len(
            db.old_histories(
                session, project_id=project_id, before=_before(now, rules.history_days), limit=1_000_000
            )
        ),
        runs=tuple(each.key for each in going),
        run_evaluations=db.count_evaluations(
            session, project_id=project_id, run_ids=[each.id for each in going]
        ),
    )


def _free(session: Session, project_id: UUID, page: Sequence[OldRun]) -> list[OldRun]:
    """Those from which no verdict was computed that stays: seeds that cite only each other may go together."""
    if not page:
        return []
    ids = {each.id for each in page}
    cited = db.citations(session, project_id=project_id, run_ids=ids)
    while staying := {to for of, to in cited if of not in ids} & ids:
        ids -= staying
    return [each for each in page if each.id in ids]


def _lock(session: Session, project_id: UUID, page: Sequence[OldRun]) -> None:
    ids = [each.id for each in page]
    runs.lock_several(session, project_id=project_id, run_ids=ids)
    boards = {
        board
        for run_id in ids
        for board in evaluations.boards_of_run(session, project_id=project_id, run_id=run_id)
    }
    for suite_id, stage in sorted(boards):
        baselines.lock_to_move(session, project_id=project_id, suite_id=suite_id, stage=stage)
    _lock_subjects(session, project_id, db.subjects_of(session, project_id=project_id, run_ids=ids))


def _lock_subjects(session: Session, project_id: UUID, subjects: Iterable[tuple[UUID, str, str]]) -> None:
    locks.own(session, *(alerts.lock_key(project_id, *subject) for subject in subjects))


def _told(
    session: Session, project_id: UUID, subject: str, counts: dict[str, object], now: datetime, gone: int
) -> int:
    if gone:
        audit.write(
            session,
            project_id=project_id,
            actor=BY,
            action=Action.RETENTION_PURGE,
            subject=subject,
            detail=counts,
            now=now,
        )
    return gone


def _before(now: datetime, days: int) -> datetime:
    return now - timedelta(days=days)
