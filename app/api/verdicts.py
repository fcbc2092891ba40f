"""A stored verdict as the service answers it: as it stands now, validity included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from app.api.answers import Document, EvaluationSummaryAnswer, VerdictAnswer
from app.db import Session, assessments, evaluations, projects, stale, suites
from app.db import runs as runs_db
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.domain.evaluations import Evaluation, Validity
from app.domain.gate import effective_gate
from app.domain.outcomes import Gate, Verdict
from app.domain.record import aggregate_to_document, check_to_document
from app.domain.sentences import explain
from app.domain.summary import sentence_for_invalid
from app.services.filing import Filed


def verdict_answer(session: Session, row: EvaluationRow) -> VerdictAnswer:
    """The newest verdict of an evaluation, closed when the run or the evaluation is invalid.

    Whether it is out of date is asked before it is read: the other way round, a verdict that is given again in between
    would be answered in its old form, and as if it were the newest.
    """
    project_id = row.project_id
    is_stale = row.id in stale.still(session, project_id=project_id, ids=[row.id])
    row = evaluations.by_id(session, project_id=project_id, evaluation_id=row.id) or row
    verdict = assessments.load_verdict(
        session, project_id=project_id, evaluation_id=row.id, number=row.assessment
    )
    assessed = assessments.row_at(session, project_id=project_id, evaluation_id=row.id, number=row.assessment)
    run = runs_db.by_id(session, row.run_id)
    suite = suites.at(session, project_id=project_id, suite_id=row.suite_id, version=row.suite_version)
    if run is None or suite is None:
        raise LookupError(f"evaluation {row.id} lost its run or suite")
    project = projects.by_id(session, project_id)
    if project is None:
        raise LookupError(f"evaluation {row.id} lost its project")
    document = _document(
        row,
        run,
        verdict,
        lambda: evaluations.load(session, project_id=project_id, ids=[row.id])[row.id],
        project_key=project.key,
        suite_key=suite.key,
        baseline=_baseline(session, row, assessed),
        policy_version=assessed.policy_version,
        is_stale=is_stale,
    )
    return VerdictAnswer(**document)


def filed_document(filed: Filed) -> Document:
    """The verdict that this very transaction has given, without reading anything.

    With the fields of a VerdictAnswer, and nothing left to check or convert: there may be hundreds of checks.
    """
    baseline = None
    if filed.champion is not None:
        evaluation_id, run_key = filed.champion
        baseline = {"evaluation": evaluation_id, "run": run_key, "version": filed.row.judged_version}
    return _document(
        filed.row,
        filed.run,
        filed.verdict,
        lambda: filed.candidate,
        project_key=filed.project_key,
        suite_key=filed.suite_key,
        baseline=baseline,
        policy_version=filed.policy_version,
        is_stale=False,
    )


def _document(
    row: EvaluationRow,
    run: RunRow,
    verdict: Verdict,
    evaluation: Callable[[], Evaluation],
    *,
    project_key: str,
    suite_key: str,
    baseline: Document | None,
    policy_version: int,
    is_stale: bool,
) -> Document:
    validity, reason = evaluations.effective_validity(
        (run.validity, run.validity_reason), (row.validity, row.validity_reason)
    )
    is_valid = validity != Validity.INVALID.value
    return {
        "evaluation": row.id,
        "run_id": row.run_id,
        "run": run.key,
        "project": project_key,
        "suite": suite_key,
        "suite_version": row.suite_version,
        "stage": row.stage,
        "step": row.step,
        "attempt": row.attempt,
        "purpose": row.purpose,
        "validity": validity,
        "validity_reason": reason,
        "gate": verdict.gate if is_valid else Gate.CLOSED,
        "sentence": verdict.sentence if is_valid else sentence_for_invalid(evaluation(), reason),
        "baseline": baseline,
        "policy_version": policy_version,
        "assessment": row.assessment,
        "stale": is_stale,
        "judged_cells": verdict.judged_cells,
        "total_cells": verdict.total_cells,
        "checks": [{**check_to_document(check), "text": explain(check)} for check in verdict.checks],
        "aggregates": [aggregate_to_document(column) for column in verdict.aggregates],
        "created_at": row.created_at,
    }


def _baseline(session: Session, row: EvaluationRow, assessed: assessments.AssessmentRow) -> Document | None:
    champion_id = assessed.baseline_evaluation_id
    if champion_id is None:
        return None
    champion = evaluations.by_id(session, project_id=row.project_id, evaluation_id=champion_id)
    run = runs_db.by_id(session, champion.run_id) if champion else None
    return {
        "evaluation": champion_id,
        "run": run.key if run else "",
        "version": assessed.baseline_version,
    }


def verdict_summaries(session: Session, rows: Sequence[EvaluationRow]) -> list[EvaluationSummaryAnswer]:
    """A line for each of a run's evaluations."""
    if not rows:
        return []
    project_id = rows[0].project_id
    stale_ids = stale.still(session, project_id=project_id, ids=[row.id for row in rows])
    # After the question what is out of date, as above.
    again = evaluations.by_ids(session, project_id=project_id, ids=[row.id for row in rows])
    newest = {row.id: row for row in again}
    loaded = evaluations.load(session, project_id=project_id, ids=[row.id for row in rows])
    run = runs_db.by_id(session, rows[0].run_id)
    keys: dict[UUID, str] = {}
    summaries = []
    for row in (newest.get(row.id, row) for row in rows):
        if row.suite_id not in keys:
            suite = suites.at(
                session, project_id=project_id, suite_id=row.suite_id, version=row.suite_version
            )
            keys[row.suite_id] = suite.key if suite else ""
        evaluation = loaded[row.id]
        assessed = assessments.row_at(
            session, project_id=project_id, evaluation_id=row.id, number=row.assessment
        )
        validity, reason = evaluations.effective_validity(
            (run.validity, run.validity_reason) if run else ("valid", None),
            (row.validity, row.validity_reason),
        )
        sentence = assessed.sentence
        summaries.append(
            EvaluationSummaryAnswer(
                evaluation=row.id,
                suite=keys[row.suite_id],
                stage=row.stage,
                step=row.step,
                attempt=row.attempt,
                purpose=row.purpose,
                gate=effective_gate(Gate(row.gate), evaluation),
                sentence=sentence if evaluation.is_valid else sentence_for_invalid(evaluation, reason),
                validity=validity,
                stale=row.id in stale_ids,
                is_latest=row.is_latest,
                created_at=row.created_at,
            )
        )
    return summaries
