"""Posting an evaluation: judged, stored and announced in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db import Session, assessments, baselines, runs, suites
from app.db import evaluations as db
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.db.statements import loss_from_document, stated_from_document
from app.db.suites import SuiteRow
from app.domain.access import Action, Actor, require
from app.domain.evaluations import Evaluation, Position, Validity
from app.domain.gate import effective_gate
from app.domain.outcomes import Verdict
from app.domain.summary import sentence_for_invalid
from app.errors import Conflict, InvalidInput, NotFound
from app.services.filing import Filed, Filing, take_place
from app.services.judging import assessment_input, recompute, recorded_input
from app.services.posted import (
    CheckedPost,
    PostedEvaluation,
    check_post,
    content_digest,
    refuse_unknown_metrics,
)
from app.services.runs import run_for
from app.services.suites import create_from_post

__all__ = [
    "PostedEvaluation",
    "Recorded",
    "assessment_input",
    "content_digest",
    "evaluation_for",
    "record_evaluation",
    "recompute",
    "recorded_input",
    "verdict_of",
]

_NOBODYS = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a post.

    Args:
        created: False when the same content had been posted under this id before.
    """

    project_id: UUID
    evaluation_id: UUID
    created: bool


def record_evaluation(
    session: Session,
    actor: Actor,
    *,
    run_id: UUID,
    evaluation_id: UUID,
    posted: PostedEvaluation,
    now: datetime,
    new_id: Callable[[], UUID],
    meanwhile: Callable[[Filed], object] = lambda _: None,
) -> Recorded:
    """Store an evaluation with its verdict, leaderboard rows, alerts and messages; a retry changes nothing.

    Locks: the run, its recipe's seed set, the pointer of suite and stage (shared), the suite where it freezes weights,
    the alerts' subject.

    Args:
        meanwhile: As `Filing.store` has it; for making an answer, which is good when this has returned.

    Raises:
        Conflict: The id is taken by other content, or the run is archived.
        InvalidInput: Every field that is wrong.
        NotFound: No such run, or neither the suite nor what its metrics are.
    """
    found = run_for(session, actor, run_id=run_id, action=Action.EVALUATION_POST)
    post = check_post(posted)
    run = runs.lock(session, project_id=found.project_id, run_id=found.id)
    if run is None:
        raise NotFound(f"no run {run_id}; runs are listed under their project, look there for its id")
    known = db.by_id(session, project_id=run.project_id, evaluation_id=evaluation_id)
    if known is not None:
        return _known(known, run, post)
    if run.archived_at is not None:
        raise Conflict(f"run {run.key} is archived; use another run key")
    attempt = _attempt(session, run, posted)
    suite_row = _suite(session, actor, run, posted, now, new_id)
    refuse_unknown_metrics(suite_row.to_domain(), posted)
    candidate = _candidate(run, evaluation_id, attempt, post)
    place = take_place(session, run, suite_row.id, posted.stage, candidate)
    pointer = baselines.lock_to_judge(
        session, project_id=run.project_id, suite_id=suite_row.id, stage=posted.stage
    )
    filing = Filing(session, actor, run, suite_row, post, candidate, place, pointer, now)
    if filing.store(meanwhile) is None:
        taken = db.by_id(session, project_id=run.project_id, evaluation_id=evaluation_id)
        if taken is None:
            raise LookupError(f"evaluation {evaluation_id} is taken and is not there")
        return _known(taken, run, post)
    return Recorded(project_id=run.project_id, evaluation_id=evaluation_id, created=True)


def verdict_of(session: Session, project_id: UUID, evaluation_id: UUID) -> Verdict:
    """The newest verdict as it stands now: closed when the run or the evaluation is invalid."""
    row = db.by_id(session, project_id=project_id, evaluation_id=evaluation_id)
    if row is None:
        raise NotFound(f"no evaluation {evaluation_id} in this project")
    verdict = assessments.load_verdict(
        session, project_id=project_id, evaluation_id=evaluation_id, number=row.assessment
    )
    evaluation = db.load(session, project_id=project_id, ids=[evaluation_id])[evaluation_id]
    if evaluation.is_valid:
        return verdict
    run = runs.by_id(session, row.run_id)
    _, reason = db.effective_validity(
        (evaluation.run_validity.value, run.validity_reason if run else None),
        (row.validity, row.validity_reason),
    )
    return replace(
        verdict,
        gate=effective_gate(verdict.gate, evaluation),
        sentence=sentence_for_invalid(evaluation, reason),
    )


def evaluation_for(session: Session, actor: Actor, *, evaluation_id: UUID, action: Action) -> EvaluationRow:
    """The evaluation, not locked, if the actor may do `action` to it.

    Raises:
        NotFound: There is none, or it is another project's: the same words for both.
        Conflict: An admin asks, and several projects have one of that id.
    """
    rows = db.everywhere(session, evaluation_id)
    if actor.project is not None:
        rows = [row for row in rows if row.project_id == actor.project]
    if len(rows) > 1:
        raise Conflict(
            f"several projects have an evaluation {evaluation_id}; use a token of the one you mean"
        )
    row = rows[0] if rows else None
    try:
        require(
            actor, action, project=row.project_id if row else _NOBODYS, run=row.run_id if row else actor.run
        )
    except NotFound:
        row = None
    if row is None:
        raise NotFound(f"no evaluation {evaluation_id}; evaluations are listed under their run")
    return row


def _known(row: EvaluationRow, run: RunRow, post: CheckedPost) -> Recorded:
    if row.run_id != run.id:
        raise Conflict(f"evaluation {row.id} exists in another run; use a new id")
    if row.digest != post.digest:
        raise Conflict(f"evaluation {row.id} exists with other values; use a new id")
    return Recorded(project_id=row.project_id, evaluation_id=row.id, created=False)


def _attempt(session: Session, run: RunRow, posted: PostedEvaluation) -> int:
    if posted.attempt_id is None:
        return run.newest_attempt
    number = runs.attempt_number(
        session, project_id=run.project_id, run_id=run.id, attempt_id=posted.attempt_id
    )
    if number is None:
        raise InvalidInput(
            f"run {run.key} has no attempt {posted.attempt_id}; leave it out for the newest",
            field="attempt_id",
        )
    return number


def _suite(
    session: Session,
    actor: Actor,
    run: RunRow,
    posted: PostedEvaluation,
    now: datetime,
    new_id: Callable[[], UUID],
) -> SuiteRow:
    known = suites.newest(session, project_id=run.project_id, key=posted.suite)
    if known is not None:
        return known
    return create_from_post(
        session,
        actor,
        project_id=run.project_id,
        run_id=run.id,
        suite_key=posted.suite,
        metrics=posted.metrics,
        groups=[{"name": group} if isinstance(group, str) else group for group in posted.groups or ()],
        metric_names=posted.metric_names,
        group_names=posted.group_names,
        about=posted.about,
        now=now,
        new_id=new_id,
    )


def _candidate(run: RunRow, evaluation_id: UUID, attempt: int, post: CheckedPost) -> Evaluation:
    posted = post.posted
    return Evaluation(
        id=str(evaluation_id),
        run=run.key,
        position=Position(attempt=attempt, step=posted.step, evaluation=str(evaluation_id)),
        purpose=posted.purpose,
        values=post.values,
        stated=stated_from_document(post.stated),
        loss=loss_from_document(post.loss),
        seeded=run.seed is not None,
        split_seeded=run.split_seeded,
        run_validity=Validity(run.validity),
    )
