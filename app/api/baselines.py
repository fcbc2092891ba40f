"""Champions: who holds the seat, how it moved, and moving it."""

from __future__ import annotations

from app.api.answers import BaselineAnswer, ChampionAnswer, EventAnswer, Listing, listing
from app.api.dependencies import ActorDep, Now, PageDep, SessionDep, a_whole, cursor_of
from app.api.numbers import Name
from app.api.router import a_router
from app.api.schemas import NewEvent
from app.api.texts import checked_text
from app.api.verdicts import verdict_answer
from app.db import baselines as db
from app.db import evaluations
from app.db.baselines import EventRow
from app.domain.promotion import EventKind
from app.services import baselines, suites

router = a_router("champions")


@router.get("/projects/{project}/suites/{suite}/baseline")
def show_champion(
    session: SessionDep, actor: ActorDep, project: str, suite: str, stage: Name = "final"
) -> BaselineAnswer:
    """The champion of a suite and stage; version 0 and no evaluation before the first event."""
    row = suites.show_suite(session, actor, project_key=project, suite_key=suite)
    pointer = db.current(
        session, project_id=row.project_id, suite_id=row.id, stage=checked_text(stage, "stage")
    )
    champion = None
    if pointer.evaluation_id is not None:
        found = evaluations.by_id(session, project_id=row.project_id, evaluation_id=pointer.evaluation_id)
        if found is not None:
            verdict = verdict_answer(session, found)
            champion = ChampionAnswer(
                evaluation=verdict.evaluation,
                run=verdict.run,
                run_id=verdict.run_id,
                gate=verdict.gate,
                sentence=verdict.sentence,
                created_at=verdict.created_at,
            )
    return BaselineAnswer(suite=row.key, stage=stage, version=pointer.version, evaluation=champion)


@router.get("/projects/{project}/suites/{suite}/baseline/events")
def list_events(
    session: SessionDep, actor: ActorDep, project: str, suite: str, page: PageDep, stage: Name = "final"
) -> Listing[EventAnswer]:
    """Who made whom champion, when, why and under which policy; newest first."""
    row = suites.show_suite(session, actor, project_key=project, suite_key=suite)
    after = page.after_as(a_whole)
    events = db.page(
        session,
        project_id=row.project_id,
        suite_id=row.id,
        stage=checked_text(stage, "stage"),
        limit=page.limit + 1,
        before=after[0] if after else None,
    )
    shown = events[: page.limit]
    return listing(map(_answer, shown), cursor_of(shown[-1].version) if len(events) > page.limit else None)


@router.post("/projects/{project}/suites/{suite}/baseline/events", status_code=201)
def record_event(
    session: SessionDep, actor: ActorDep, project: str, suite: str, body: NewEvent, now: Now
) -> EventAnswer:
    """Promote, bootstrap, override or roll back; refused with 409 and every reason.

    `expected_version` is the version that the caller has seen: when the seat has moved since, the answer is 409.
    """
    event = baselines.record_event(
        session,
        actor,
        project_key=project,
        suite_key=suite,
        stage=body.stage,
        kind=EventKind(body.kind),
        evaluation_id=body.evaluation,
        to_version=body.to_event,
        expected_version=body.expected_version,
        reason=body.reason,
        now=now,
    )
    return _answer(event)


def _answer(event: EventRow) -> EventAnswer:
    return EventAnswer(
        version=event.version,
        kind=event.kind,
        stage=event.stage,
        evaluation=event.evaluation_id,
        run=event.run_key,
        previous_evaluation=event.previous_evaluation_id,
        previous_run=event.previous_run_key,
        to_event=event.to_version,
        actor=event.actor,
        reason=event.reason,
        policy_version=event.policy_version,
        gate=event.gate,
        detail=dict(event.detail),
        created_at=event.created_at,
    )
