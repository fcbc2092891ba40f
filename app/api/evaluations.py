"""Evaluations: post one, read its verdict."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
from fastapi import Request, Response

from app.api.answers import (
    AssessmentAnswer,
    EvaluationAnswer,
    EvaluationSummaryAnswer,
    Listing,
    ValueAnswer,
    VerdictAnswer,
    listing,
)
from app.api.bodies import StrictRoute, off_the_loop
from app.api.dependencies import (
    ActorDep,
    NewId,
    Now,
    PageDep,
    SessionDep,
    a_text,
    a_whole,
    bearer,
    cursor_of,
    in_one_transaction,
)
from app.api.posted_bodies import posted_from, read_plainly
from app.api.router import a_router
from app.api.schemas import Invalidation, PostEvaluation, Verification
from app.api.texts import checked_text
from app.api.verdicts import filed_document, verdict_answer, verdict_summaries
from app.db import Session, assessments, evaluation_lists
from app.db import evaluations as db
from app.domain.access import Action, Actor
from app.domain.evaluations import Validity
from app.services import evaluations, runs, validity
from app.services.filing import Filed

router = a_router("evaluations")
_PLAIN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def post_evaluation(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    evaluation_id: UUID,
    body: PostEvaluation,
    request: Request,
    now: Now,
    new_id: NewId,
) -> VerdictAnswer | Response:
    """Store an evaluation and judge it. The same id with equal content answers 200; with other content 409.

    A suite that does not exist is created when `metrics` says which direction is better (well-known names need
    nothing).
    """
    answers: list[Response] = []
    recorded = evaluations.record_evaluation(
        session,
        actor,
        run_id=run_id,
        evaluation_id=evaluation_id,
        posted=posted_from(body),
        now=now,
        new_id=new_id,
        meanwhile=lambda filed: answers.append(_stored(request, filed)),
    )
    if recorded.created:
        return answers[0]
    row = db.by_id(session, project_id=recorded.project_id, evaluation_id=recorded.evaluation_id)
    if row is None:
        raise LookupError(f"evaluation {evaluation_id} was recorded and is not there")
    answer = verdict_answer(session, row)
    request.state.gate = answer.gate
    return answer


class _PlainPost(StrictRoute):
    """The same for a plain request, in one thread and without the models: a third of its time.

    What is not plain, and what was stored before, is left to `post_evaluation`, so that there is one place that says
    what is wrong, in one order.
    """

    async def plainly(self, request: Request, body: bytes) -> Response | None:
        run_id, evaluation_id = map(_plain_id, map(request.path_params.get, ("run_id", "evaluation_id")))
        posted = await off_the_loop(body, read_plainly)
        if posted is None or run_id is None or evaluation_id is None:
            return None

        now = datetime.now(UTC)

        def record(session: Session, actor: Actor) -> Response | None:
            answers: list[Response] = []
            recorded = evaluations.record_evaluation(
                session,
                actor,
                run_id=run_id,
                evaluation_id=evaluation_id,
                posted=posted,
                now=now,
                new_id=uuid4,
                meanwhile=lambda filed: answers.append(_stored(request, filed)),
            )
            return answers[0] if recorded.created else None

        return await in_one_transaction(request, await bearer(request), now, record)


def _plain_id(text: str | None) -> UUID | None:
    return UUID(text) if text is not None and _PLAIN_ID.fullmatch(text) else None


def _stored(request: Request, filed: Filed) -> Response:
    document = filed_document(filed)
    # The gate is for the log and the counters, which wait for the commit.
    request.state.gate = str(document["gate"])
    return Response(msgspec.json.encode(document), status_code=201, media_type="application/json")


router.add_api_route(
    "/runs/{run_id}/evaluations/{evaluation_id}",
    post_evaluation,
    methods=["PUT"],
    response_model=VerdictAnswer,
    responses={201: {"model": VerdictAnswer, "description": "Stored."}},
    route_class_override=_PlainPost,
)


@router.get("/runs/{run_id}/evaluations")
def list_evaluations(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    page: PageDep,
    suite: str | None = None,
    stage: str | None = None,
) -> Listing[EvaluationSummaryAnswer]:
    """A run's evaluations, newest first: by attempt, then step."""
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    after = page.after_as(a_whole, a_whole, lambda value: UUID(a_text(value)))
    rows = evaluation_lists.page_of_run(
        session,
        project_id=run.project_id,
        run_id=run.id,
        suite_key=None if suite is None else checked_text(suite, "suite"),
        stage=None if stage is None else checked_text(stage, "stage"),
        limit=page.limit + 1,
        after=None if after is None else (after[0], after[1], after[2]),
    )
    shown = rows[: page.limit]
    following = None
    if len(rows) > page.limit:
        attempt, step, evaluation_id = shown[-1].position.key()
        following = cursor_of(attempt, step, evaluation_id)
    return listing(verdict_summaries(session, shown), following)


@router.get("/evaluations/{evaluation_id}")
def show_evaluation(session: SessionDep, actor: ActorDep, evaluation_id: UUID) -> EvaluationAnswer:
    """What was posted, the newest verdict, and every assessment that was ever made."""
    row = evaluations.evaluation_for(session, actor, evaluation_id=evaluation_id, action=Action.PROJECT_READ)
    values = db.values_of(session, project_id=row.project_id, ids=[row.id])[row.id]
    history = assessments.all_rows(session, project_id=row.project_id, evaluation_id=row.id)
    return EvaluationAnswer(
        **dict(verdict_answer(session, row)),
        values=[
            ValueAnswer(
                metric=value.metric,
                group=value.group,
                value=value.value,
                n=value.n,
                stderr=value.stderr,
                bound=value.bound,
            )
            for value in values
        ],
        stated=dict(row.stated),
        loss=dict(row.loss),
        info=dict(row.info),
        assessments=[
            AssessmentAnswer(
                number=assessed.number,
                cause=assessed.cause,
                gate=assessed.gate,
                sentence=assessed.sentence,
                policy_version=assessed.policy_version,
                baseline_version=assessed.baseline_version,
                created_at=assessed.created_at,
            )
            for assessed in history
        ],
    )


@router.post("/evaluations/{evaluation_id}/invalidate")
def invalidate_evaluation(
    session: SessionDep, actor: ActorDep, evaluation_id: UUID, body: Invalidation, now: Now
) -> VerdictAnswer:
    """This evaluation is not believed any more: it leaves leaderboards and baselines, its gate closes."""
    mark = Validity.SUSPECT if body.suspect else Validity.INVALID
    row = validity.mark_evaluation(
        session, actor, evaluation_id=evaluation_id, mark=mark, reason=body.reason, now=now
    )
    return verdict_answer(session, row)


@router.post("/evaluations/{evaluation_id}/restore")
def restore_evaluation(
    session: SessionDep, actor: ActorDep, evaluation_id: UUID, body: Verification, now: Now
) -> VerdictAnswer:
    """Give back validity, never the crown."""
    row = validity.mark_evaluation(
        session, actor, evaluation_id=evaluation_id, mark=Validity.VALID, reason=body.reason, now=now
    )
    return verdict_answer(session, row)
