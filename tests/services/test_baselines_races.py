"""Promotions at once, and against posts and invalidations: exactly one wins, and the books agree."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db import Session, assessments, baselines
from app.db.baselines import EventRow
from app.db.projects import ProjectRow
from app.db.tables import evaluation
from app.domain.evaluations import Validity
from app.domain.promotion import EventKind, champion_from
from app.errors import Conflict, TruerunError
from app.services.evaluations import Recorded
from app.services.rejudge import rejudge_batch
from tests.services.claims import (
    GOOD,
    a_post,
    a_suite,
    bootstrapping,
    events,
    judge_again,
    marking_evaluation,
    marking_run,
    messages,
    moving,
    pointer,
    posted,
    posting,
    promoting,
)
from tests.services.world import NOW, World, a_project, a_run

PROMOTERS = 8
ROUNDS = 100


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def better(i: int) -> dict[str, float]:
    """Numbers that are better than those of every smaller i."""
    return {group: x * 0.999**i for group, x in GOOD.items()}


def consistent(world: World, project: UUID, suite_id: UUID) -> None:
    """Pointer, events, audit trail and messages tell one story."""
    now = pointer(world, project, suite_id)
    told = events(world, project, suite_id)
    assert [event.version for event in told] == list(range(now.version, 0, -1))
    for later, earlier in pairwise(told):
        assert later.previous_evaluation_id == earlier.evaluation_id
    with world.transaction() as session:
        history = baselines.history(session, now)
        unfit = baselines.unfit(session, now, history)
    champion, _ = champion_from(history, unfit)
    assert champion == (None if now.evaluation_id is None else str(now.evaluation_id))
    assert now.evaluation_id is None or str(now.evaluation_id) not in unfit
    audited = [row for row in world.audit_rows(project) if row.subject.startswith("baseline ")]
    assert sorted(row.detail["version"] for row in audited) == list(range(1, now.version + 1))
    moved = [row.payload["version"] for row in messages(world, project, "baseline.moved")]
    assert moved == list(range(1, now.version + 1))


def judged_against_what_was_locked(world: World, project: UUID, suite_id: UUID, evaluation_id: UUID) -> None:
    """Every assessment names the champion that the pointer had at the version it names."""
    champions: dict[int, UUID | None] = {0: None}
    champions |= {event.version: event.evaluation_id for event in events(world, project, suite_id)}
    with world.transaction() as session:
        rows = assessments.all_rows(session, project_id=project, evaluation_id=evaluation_id)
    assert rows
    for row in rows:
        assert row.baseline_evaluation_id == champions[row.baseline_version]


def rows_marked_latest(world: World) -> list[Any]:
    with world.transaction() as session:
        return list(session.execute(select(evaluation.c.run_id).where(evaluation.c.is_latest)))


def test_of_eight_promoters_exactly_one_wins_each_of_a_hundred_rounds(
    world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))
    ids = [posted(world, a_run(world, f"run-{i}").run_id, better(1)) for i in range(PROMOTERS)]
    barrier = threading.Barrier(PROMOTERS)
    wins: list[EventRow] = []
    refusals: list[TruerunError] = []

    def promoter(i: int) -> None:
        for round_ in range(ROUNDS):
            barrier.wait(60)
            try:
                wins.append(world.run(promoting(ids[(i + round_) % PROMOTERS], version=round_ + 1)))
            except Conflict as refusal:
                refusals.append(refusal)

    threads = [threading.Thread(target=promoter, args=(i,)) for i in range(PROMOTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)

    assert sorted(event.version for event in wins) == list(range(2, ROUNDS + 2))
    assert len(refusals) == ROUNDS * (PROMOTERS - 1)
    assert all("moved it" in refusal.message or "already" in str(refusal.reasons) for refusal in refusals)
    assert pointer(world, project.id, suite_id).version == ROUNDS + 1
    consistent(world, project.id, suite_id)


def test_whoever_posts_behind_a_promotion_is_judged_against_the_new_champion(
    world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    first, second = (posted(world, a_run(world, f"run-{i}").run_id, better(i)) for i in range(2))
    world.run(bootstrapping(first))
    third = a_run(world, "third")

    _, recorded = world.behind(promoting(second, version=1), posting(third.run_id, a_post(better(2))))

    with world.transaction() as session:
        row = assessments.newest_row(session, project_id=project.id, evaluation_id=recorded.evaluation_id)
    assert row is not None
    assert (row.baseline_version, row.baseline_evaluation_id) == (2, second)
    judged_against_what_was_locked(world, project.id, suite_id, recorded.evaluation_id)


def test_a_promotion_behind_a_post_waits_for_it(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world)
    first, second = (posted(world, a_run(world, f"run-{i}").run_id, better(i)) for i in range(2))
    world.run(bootstrapping(first))
    third = a_run(world, "third")

    recorded, event = world.behind(posting(third.run_id, a_post(better(2))), promoting(second, version=1))

    assert event.version == 2
    judged_against_what_was_locked(world, project.id, suite_id, recorded.evaluation_id)
    consistent(world, project.id, suite_id)


def test_a_promotion_behind_the_invalidation_of_its_candidate_is_refused(
    world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    first = posted(world, a_run(world, "first").run_id)
    run = a_run(world, "second")
    second = posted(world, run.run_id, better(1))
    world.run(bootstrapping(first))

    _, refusal = world.behind(marking_run(run.run_id), promoting(second, version=1))

    assert isinstance(refusal, Conflict)
    assert pointer(world, project.id, suite_id).evaluation_id == first
    consistent(world, project.id, suite_id)


def test_an_invalidation_behind_the_promotion_of_its_run_takes_the_crown_back(
    world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    first = posted(world, a_run(world, "first").run_id)
    run = a_run(world, "second")
    second = posted(world, run.run_id, better(1))
    world.run(bootstrapping(first))

    world.behind(promoting(second, version=1), marking_run(run.run_id))

    assert events(world, project.id, suite_id)[0].kind == "invalidate"
    assert pointer(world, project.id, suite_id).evaluation_id == first
    consistent(world, project.id, suite_id)


def test_the_crown_is_never_handed_to_who_is_made_invalid_at_the_same_moment(
    world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    runs = [a_run(world, f"run-{i}").run_id for i in range(2)]
    ids = [posted(world, run_id, better(i)) for i, run_id in enumerate(runs)]
    world.run(bootstrapping(ids[0]))
    world.run(promoting(ids[1], version=1))

    world.behind(marking_run(runs[0]), marking_run(runs[1]))

    assert pointer(world, project.id, suite_id).evaluation_id is None
    consistent(world, project.id, suite_id)


@dataclass(frozen=True)
class Crowd:
    """People and machines who do anything to the same runs, at once."""

    world: World
    project: UUID
    suite_id: UUID
    runs: list[UUID]
    ids: list[UUID]
    recorded: list[UUID] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def anything(self, dice: random.Random) -> Callable[[Session], Any]:
        i = dice.randrange(len(self.runs))
        version = pointer(self.world, self.project, self.suite_id).version
        deeds: list[Callable[[Session], Any]] = [
            posting(self.runs[i], a_post(better(dice.randrange(9)), step=dice.randrange(50))),
            posting(self.runs[i], a_post(better(dice.randrange(9)), step=dice.randrange(50))),
            promoting(self.ids[i], version=version),
            promoting(self.ids[i], version=version),
            moving(EventKind.ROLLBACK, version=version),
            marking_run(self.runs[i], dice.choice(list(Validity))),
            marking_evaluation(self.ids[i], dice.choice(list(Validity))),
            lambda session: rejudge_batch(session, now=NOW, limit=5),
        ]
        return dice.choice(deeds)

    def work(self, dice: random.Random) -> None:
        try:
            for _ in range(25):
                try:
                    made = self.world.run(self.anything(dice))
                except Conflict:
                    continue
                if isinstance(made, Recorded):
                    self.recorded.append(made.evaluation_id)
        except BaseException as error:  # noqa: BLE001  a thread's error must not get lost
            self.failures.append(error)


@pytest.mark.parametrize("seed", range(6))
def test_posts_promotions_and_invalidations_at_once_leave_the_books_in_order(
    seed: int, world: World, project: ProjectRow
) -> None:
    suite_id = a_suite(world)
    runs = [a_run(world, f"run-{i}", run_group="sweep" if i % 2 else None).run_id for i in range(6)]
    ids = [posted(world, run_id, better(i)) for i, run_id in enumerate(runs)]
    world.run(bootstrapping(ids[0]))
    crowd = Crowd(world, project.id, suite_id, runs, ids)

    threads = [threading.Thread(target=crowd.work, args=(random.Random(4 * seed + i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert crowd.failures == []
    judge_again(world)
    consistent(world, project.id, suite_id)
    # How far the crowd got depends on who came first; that it moved the crown at all is certain enough.
    assert len(events(world, project.id, suite_id)) > 1
    for evaluation_id in ids + crowd.recorded:
        judged_against_what_was_locked(world, project.id, suite_id, evaluation_id)
    latest = [row.run_id for row in rows_marked_latest(world)]
    assert len(latest) == len(set(latest))
