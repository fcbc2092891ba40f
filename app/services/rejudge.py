"""Judging again what is out of date, in small transactions of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from app.db import (
    Session,
    assessments,
    baselines,
    bulk,
    evaluations,
    leaderboards,
    outbox,
    runs,
    seeds,
    stale,
)
from app.db.alerts import Subject
from app.db.assessments import Cause
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.domain.assess import AssessmentInput, assess
from app.domain.evaluations import Evaluation, Purpose, Validity
from app.domain.outcomes import Verdict
from app.domain.suites import Suite
from app.services.alerts import Watched, causes_of, lock_subjects, settle
from app.services.announcements import evaluation_judged, leaderboard_changed
from app.services.judging import Court, board_cells, convene, suites_at


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    row: EvaluationRow
    run: RunRow
    candidate: Evaluation
    suite: Suite


class Effect(Enum):
    """What a verdict that was given again does to the alerts of its subject."""

    NONE = auto()
    RESOLVES = auto()
    ALERTS = auto()


def rejudge_batch(session: Session, *, now: datetime, limit: int = 50) -> int:
    """Judge some stale evaluations of one suite and stage again; commit, and call again until it returns 0.

    Earlier assessments stay. An alert whose cause is gone is resolved. Nothing is opened, unless another seed has
    changed a gate: that is news of the candidate, where a champion's fall is none.

    Locks: the runs by id, the pointer (shared), the alerts' subjects.

    Returns:
        How many were found stale, those that somebody else judged in the meantime included.
    """
    found = stale.find(session, limit=limit)
    if not found:
        seeds.settle(session)
        return 0
    project_id, suite_id, stage = found[0].project_id, found[0].suite_id, found[0].stage
    locked = runs.lock_several(session, project_id=project_id, run_ids=[each.run_id for each in found])
    pointer = baselines.lock_to_judge(session, project_id=project_id, suite_id=suite_id, stage=stage)
    ids = stale.still(session, project_id=project_id, ids=[each.evaluation_id for each in found])
    court = convene(session, pointer, runs=locked)
    fallen = stale.measured_against_invalid(session, project_id=project_id, ids=ids)
    by_run = {run.id: run for run in locked}
    verdicts: dict[UUID, Verdict] = {}
    watched: dict[str, Watched] = {}
    alerting: set[str] = set()
    for case in _cases(session, project_id, sorted(ids), by_run):
        inputs = court.input_for(case.candidate, case.suite, case.run)
        verdict = assess(inputs)
        cause = _cause(case.row, court, is_fallen=case.row.id in fallen)
        each = _watched(case)
        effect = _store(session, court, case, inputs, verdict, cause, now)
        if effect is not Effect.NONE:
            watched[each.subject.name] = each
        if effect is Effect.ALERTS:
            alerting.add(each.subject.name)
        verdicts[case.row.id] = verdict
    lock_subjects(session, watched.values())
    for each in sorted(watched.values(), key=lambda each: each.subject.lock_key):
        only_resolve = each.subject.name not in alerting
        settle(session, each, known=verdicts, now=now, only_resolve=only_resolve)
    if verdicts:
        board = leaderboard_changed(suite_id, stage)
        outbox.write(session, project_id=project_id, messages=[board], now=now)
    return len(found)


def _cases(session: Session, project_id: UUID, ids: list[UUID], by_run: dict[UUID, RunRow]) -> list[_Case]:
    rows = evaluations.by_ids(session, project_id=project_id, ids=ids)
    loaded = evaluations.load(session, project_id=project_id, ids=ids)
    if not rows:
        return []
    versions = suites_at(
        session,
        project_id=project_id,
        suite_id=rows[0].suite_id,
        versions=[row.suite_version for row in rows],
    )
    return [
        _Case(
            row=row,
            run=by_run[row.run_id],
            candidate=loaded[row.id],
            suite=versions[row.suite_version],
        )
        for row in rows
    ]


def _cause(row: EvaluationRow, court: Court, *, is_fallen: bool) -> Cause:
    if row.judged_version != court.pointer.version:
        return Cause.CHAMPION_INVALID if is_fallen else Cause.CHAMPION_CHANGED
    return Cause.WEIGHTS_CHANGED if row.weights_version != court.weights.version else Cause.SEEDS_CHANGED


def _store(
    session: Session,
    court: Court,
    case: _Case,
    inputs: AssessmentInput,
    verdict: Verdict,
    cause: Cause,
    now: datetime,
) -> Effect:
    """Append the assessment and let everything that follows from it follow."""
    row = case.row
    is_claim = case.candidate.purpose is Purpose.CANDIDATE
    causes, effect = causes_of(verdict), Effect.ALERTS
    if cause is not Cause.SEEDS_CHANGED or verdict.gate.value == row.gate:
        # A verdict that is given again takes causes away and adds none: nobody is to be disturbed by it.
        causes, effect = sorted(set(row.causes) & set(causes)), Effect.RESOLVES
    assessments.insert_assessment(
        session,
        project_id=row.project_id,
        evaluation_id=row.id,
        number=row.assessment + 1,
        cause=cause,
        verdict=verdict,
        inputs=court.record_of(case.candidate, inputs),
        now=now,
    )
    bulk.insert(
        session,
        assessments.check_rows(
            project_id=row.project_id,
            evaluation_id=row.id,
            number=row.assessment + 1,
            checks=verdict.checks,
        ),
    )
    evaluations.set_judged(
        session,
        row,
        assessment=row.assessment + 1,
        gate=verdict.gate.value,
        judged_version=court.pointer.version,
        weights_version=court.weights.version,
        seeds_version=court.seeds.versions[case.run.recipe],
        rivals_version=court.seeds.versions[seeds.RIVALS],
        causes=causes,
    )
    if is_claim and row.weights_version != court.weights.version:
        _rank_again(session, court, case)
    if is_claim:
        judged = evaluation_judged(
            evaluation_id=row.id,
            run_id=row.run_id,
            assessment=row.assessment + 1,
            gate=verdict.gate.value,
        )
        outbox.write(session, project_id=row.project_id, messages=[judged], now=now)
    return effect if causes != row.causes else Effect.NONE


def _rank_again(session: Session, court: Court, case: _Case) -> None:
    row, run = case.row, case.run
    leaderboards.delete_rows(session, project_id=row.project_id, evaluation_id=row.id)
    rows = leaderboards.board_rows(
        project_id=row.project_id,
        suite_id=row.suite_id,
        suite_version=row.suite_version,
        stage=row.stage,
        evaluation_id=row.id,
        run_id=row.run_id,
        recipe=run.recipe,
        is_latest=row.is_latest,
        eligible=Validity.INVALID.value not in (run.validity, row.validity) and run.archived_at is None,
        cells=board_cells(court.weighing(case.suite), case.candidate),
    )
    bulk.insert(session, rows)


def _watched(case: _Case) -> Watched:
    subject = Subject(
        project_id=case.row.project_id,
        suite_id=case.row.suite_id,
        stage=case.row.stage,
        run_id=case.row.run_id,
        run_group=case.run.run_group,
    )
    return Watched(subject=subject, suite_key=case.suite.key)
