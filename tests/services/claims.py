"""Evaluations, promotions and verdicts for tests: what is posted, and what can be seen afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from app.db import Session, assessments, baselines, evaluations, leaderboards, suites
from app.db.alerts import AlertRow
from app.db.alerts import page as page_of_alerts
from app.db.baselines import BaselineRow, EventRow
from app.db.evaluations import EvaluationRow
from app.db.leaderboards import BoardItem, Rows
from app.db.projects import ProjectRow
from app.db.tables import outbox_message
from app.domain.access import Actor
from app.domain.alerts import State
from app.domain.evaluations import OVERALL, Loss, Purpose, Stated, Validity, Value
from app.domain.outcomes import Verdict
from app.domain.promotion import EventKind
from app.domain.suites import cell_digest
from app.services.baselines import record_event
from app.services.evaluations import PostedEvaluation, Recorded, record_evaluation, verdict_of
from app.services.rejudge import rejudge_batch
from app.services.suites import put_suite
from app.services.validity import mark_evaluation, mark_run
from tests.services.world import ADMIN, NOW, World, a_project, a_run

METRIC = "log2_mse"
SUITE = "heights"
GOOD = {"easy": 0.10, "mid": 0.20, "hard": 0.40}
BETTER = {"easy": 0.09, "mid": 0.18, "hard": 0.36}
BAD = {"easy": 0.09, "mid": 0.18, "hard": 0.80}


def a_suite(world: World, *, project: str = "burgers", key: str = SUITE, **says: Any) -> UUID:
    """A suite of three groups, each its own tier, with one metric; returns its id."""
    document = {
        "dataset": "heights",
        "groups": [{"name": name, "tier": name} for name in GOOD],
        "metrics": {METRIC: {}},
    } | says
    row = world.run(
        lambda session: put_suite(
            session, ADMIN, project_key=project, suite_key=key, document=document, now=NOW, new_id=uuid4
        )
    )
    return row.id


def a_post(
    groups: Mapping[str, float] = GOOD,
    *,
    n: int | Mapping[str, int] | None = 1000,
    step: int | None = None,
    suite: str = SUITE,
    stage: str = "final",
    purpose: Purpose = Purpose.CANDIDATE,
    metric: str = METRIC,
    **says: Any,
) -> PostedEvaluation:
    values = tuple(
        Value(metric=metric, group=group, value=value, n=n.get(group) if isinstance(n, Mapping) else n)
        for group, value in groups.items()
    )
    says = {"stated": Stated(), "loss": Loss()} | says
    return PostedEvaluation(suite=suite, stage=stage, step=step, purpose=purpose, values=values, **says)


def posting(
    run_id: UUID,
    post: PostedEvaluation,
    *,
    evaluation_id: UUID | None = None,
    actor: Actor = ADMIN,
    now: datetime = NOW,
) -> Callable[[Session], Recorded]:
    chosen = evaluation_id or uuid4()
    return lambda session: record_evaluation(
        session, actor, run_id=run_id, evaluation_id=chosen, posted=post, now=now, new_id=uuid4
    )


def posted(world: World, run_id: UUID, groups: Mapping[str, float] = GOOD, **says: Any) -> UUID:
    """Post an evaluation; returns its id."""
    evaluation_id = says.pop("evaluation_id", None)
    actor = says.pop("actor", ADMIN)
    now = says.pop("now", NOW)
    call = posting(run_id, a_post(groups, **says), evaluation_id=evaluation_id, actor=actor, now=now)
    return world.run(call).evaluation_id


def moving(
    kind: EventKind,
    evaluation_id: UUID | None = None,
    *,
    version: int,
    to_version: int | None = None,
    reason: str | None = None,
    actor: Actor = ADMIN,
    project: str = "burgers",
    suite: str = SUITE,
    stage: str = "final",
) -> Callable[[Session], EventRow]:
    return lambda session: record_event(
        session,
        actor,
        project_key=project,
        suite_key=suite,
        stage=stage,
        kind=kind,
        evaluation_id=evaluation_id,
        to_version=to_version,
        expected_version=version,
        reason=reason,
        now=NOW + timedelta(minutes=1),
    )


def promoting(evaluation_id: UUID, *, version: int, **says: Any) -> Callable[[Session], EventRow]:
    return moving(EventKind.PROMOTE, evaluation_id, version=version, **says)


def bootstrapping(evaluation_id: UUID, **says: Any) -> Callable[[Session], EventRow]:
    return moving(EventKind.BOOTSTRAP, evaluation_id, **({"version": 0} | says))


def a_project_with_champion(world: World, run_key: str) -> ProjectRow:
    """A project whose suite has a champion: the run of that key, with the values of GOOD."""
    project = a_project(world)
    a_suite(world)
    world.run(bootstrapping(posted(world, a_run(world, run_key).run_id, GOOD), reason="a start"))
    return project


def marking_run(
    run_id: UUID, mark: Validity = Validity.INVALID, reason: str | None = "leaked", actor: Actor = ADMIN
) -> Callable[[Session], Any]:
    return lambda session: mark_run(session, actor, run_id=run_id, mark=mark, reason=reason, now=NOW)


def marking_evaluation(
    evaluation_id: UUID,
    mark: Validity = Validity.INVALID,
    reason: str | None = "wrong file",
    actor: Actor = ADMIN,
) -> Callable[[Session], Any]:
    return lambda session: mark_evaluation(
        session, actor, evaluation_id=evaluation_id, mark=mark, reason=reason, now=NOW
    )


def judge_again(world: World, *, limit: int = 50) -> int:
    """What the worker does: batches until nothing is stale; returns how many were judged."""
    judged = 0
    for _ in range(1000):
        found = world.run(lambda session: rejudge_batch(session, now=NOW + timedelta(hours=1), limit=limit))
        if not found:
            return judged
        judged += found
    raise AssertionError("it is never done")


def verdict(world: World, project: UUID, evaluation_id: UUID) -> Verdict:
    return world.run(lambda session: verdict_of(session, project, evaluation_id))


def row_of(world: World, project: UUID, evaluation_id: UUID) -> EvaluationRow:
    row = world.run(
        lambda session: evaluations.by_id(session, project_id=project, evaluation_id=evaluation_id)
    )
    assert row is not None
    return row


def pointer(world: World, project: UUID, suite_id: UUID, stage: str = "final") -> BaselineRow:
    return world.run(
        lambda session: baselines.current(session, project_id=project, suite_id=suite_id, stage=stage)
    )


def events(world: World, project: UUID, suite_id: UUID, stage: str = "final") -> list[EventRow]:
    """Newest first."""
    return world.run(
        lambda session: baselines.page(
            session, project_id=project, suite_id=suite_id, stage=stage, limit=100_000
        )
    )


def board(
    world: World,
    project: UUID,
    suite_id: UUID,
    *,
    group: str = OVERALL,
    metric: str = METRIC,
    stage: str = "final",
    rows: Rows = Rows.RUNS,
    ineligible: bool = False,
    limit: int = 100,
    after: Any = None,
    tags: tuple[str, ...] = (),
) -> list[BoardItem]:
    def call(session: Session) -> list[BoardItem]:
        version = session.execute(
            select(suites.suite.c.version).where(suites.suite.c.id == suite_id)
        ).scalar_one()
        cell = cell_digest(suites.load_suite(session, project, suite_id, version), metric, group)
        assert cell is not None
        return leaderboards.page(
            session,
            project_id=project,
            suite_id=suite_id,
            stage=stage,
            cell=cell,
            rows=rows,
            ineligible=ineligible,
            limit=limit,
            after=after,
            tags=tags,
        )

    return world.run(call)


def alerts(world: World, project: UUID, states: tuple[State, ...] = tuple(State)) -> list[AlertRow]:
    return world.run(lambda session: page_of_alerts(session, project_id=project, states=states, limit=1000))


def open_alerts(world: World, project: UUID) -> list[AlertRow]:
    return alerts(world, project, (State.OPEN,))


def assessed(world: World, project: UUID, evaluation_id: UUID) -> list[assessments.AssessmentRow]:
    """Newest first."""
    return world.run(
        lambda session: assessments.all_rows(session, project_id=project, evaluation_id=evaluation_id)
    )


def messages(world: World, project: UUID, topic: str | None = None) -> list[Any]:
    """Outbox rows, oldest first."""
    query = select(outbox_message).where(outbox_message.c.project_id == project).order_by(outbox_message.c.id)
    if topic is not None:
        query = query.where(outbox_message.c.topic == topic)
    return world.run(lambda session: list(session.execute(query)))
