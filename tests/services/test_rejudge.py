from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import Session, assessments, stale
from app.db.leaderboards import Rows
from app.db.projects import ProjectRow
from app.domain.alerts import State
from app.domain.evaluations import Loss, Purpose, Stated
from app.domain.outcomes import Gate, Verdict
from app.domain.promotion import EventKind
from app.domain.record import aggregate_to_document, check_to_document
from app.services.evaluations import recompute
from app.services.handshakes import OpenRun
from app.services.rejudge import rejudge_batch
from app.services.runs import open_run
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    METRIC,
    a_suite,
    alerts,
    assessed,
    board,
    bootstrapping,
    judge_again,
    marking_run,
    messages,
    moving,
    posted,
    promoting,
    row_of,
    verdict,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run

MUCH_BETTER = {group: x / 2 for group, x in GOOD.items()}


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def suite_id(world: World, project: ProjectRow) -> UUID:
    return a_suite(world)


def stale_ids(world: World) -> set[UUID]:
    return {row.evaluation_id for row in world.run(lambda session: stale.find(session, limit=1000))}


def plain(found: Verdict) -> dict[str, Any]:
    """A verdict that can be compared although it may hold NaN."""
    return asdict(replace(found, checks=(), aggregates=())) | {
        "checks": [check_to_document(check) for check in found.checks],
        "aggregates": [aggregate_to_document(column) for column in found.aggregates],
    }


def test_every_move_makes_the_latest_evaluations_stale_and_nothing_else(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    first, second = a_run(world, "first"), a_run(world, "second")
    early = posted(world, first.run_id, GOOD, step=1)
    latest = posted(world, first.run_id, GOOD, step=2)
    progress = posted(world, first.run_id, GOOD, step=3, purpose=Purpose.PROGRESS)
    other_stage = posted(world, second.run_id, GOOD, stage="dev")
    assert stale_ids(world) == set()

    world.run(bootstrapping(latest))

    assert stale_ids(world) == {latest}
    assert judge_again(world) == 1
    assert stale_ids(world) == set()
    judged = [row_of(world, project.id, each).assessment for each in (early, latest, progress, other_stage)]
    assert judged == [1, 2, 1, 1]


def test_the_newest_verdict_follows_the_champion(world: World, project: ProjectRow, suite_id: UUID) -> None:
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, MUCH_BETTER)
    third = posted(world, a_run(world, "third").run_id, BETTER)
    world.run(bootstrapping(first))
    judge_again(world)
    assert verdict(world, project.id, third).gate is Gate.OPEN

    world.run(promoting(second, version=1))
    shown = {item.run_key: (item.gate, item.stale) for item in board(world, project.id, suite_id)}
    judge_again(world)

    assert shown["third"] == ("open", True)
    found = {item.run_key: (item.gate, item.stale) for item in board(world, project.id, suite_id)}
    assert found == {"second": ("open", False), "third": ("closed", False), "first": ("closed", False)}
    causes = [row.cause for row in assessed(world, project.id, third)]
    assert causes == ["champion_changed", "champion_changed", "posted"]


def test_judging_again_alerts_nobody_and_resolves_what_is_gone(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    leaked_run = a_run(world, "leaked")
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, MUCH_BETTER)
    leaked = posted(world, leaked_run.run_id, {group: x / 100 for group, x in GOOD.items()})
    world.run(bootstrapping(first))
    judge_again(world)
    world.run(promoting(second, version=1))
    judge_again(world)
    assert alerts(world, project.id) == []
    world.run(promoting(leaked, version=2))
    judge_again(world)
    late = posted(world, a_run(world, "late").run_id, {group: x / 3 for group, x in GOOD.items()})
    assert [row.alert.state for row in alerts(world, project.id)] == [State.OPEN]

    world.run(marking_run(leaked_run.run_id))
    judge_again(world)

    assert verdict(world, project.id, late).gate is Gate.OPEN
    assert [row.alert.state for row in alerts(world, project.id)] == [State.RESOLVED]
    assert row_of(world, project.id, late).causes == []


def test_small_batches_and_several_workers_come_to_the_same(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    ids = [posted(world, a_run(world, f"run-{i}").run_id, {**GOOD, "hard": 0.3 + i / 50}) for i in range(9)]
    world.run(bootstrapping(ids[0]))

    def batch(session: Session) -> int:
        return rejudge_batch(session, now=NOW, limit=4)

    for _ in range(3):
        world.together(batch, batch, batch)

    assert stale_ids(world) == set()
    assert [row_of(world, project.id, each).assessment for each in ids] == [2] * 9
    judged = messages(world, project.id, "evaluation.judged")
    assert len(judged) == 18


def test_the_first_champions_shares_replace_those_of_the_first_evaluation_everywhere(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    even, uneven = {"easy": 100, "mid": 100, "hard": 100}, {"easy": 100, "mid": 100, "hard": 800}
    run = a_run(world, "first")
    ids = sorted(uuid4() for _ in range(4))
    first = posted(world, run.run_id, GOOD, n=even, step=1, evaluation_id=ids[0])
    posted(world, run.run_id, GOOD, n=even, step=2, evaluation_id=ids[1])
    champion = posted(world, a_run(world, "second").run_id, GOOD, n=uneven, evaluation_id=ids[2])
    dev = posted(world, a_run(world, "third").run_id, GOOD, n=even, stage="dev", evaluation_id=ids[3])

    def overall(stage: str = "final") -> set[float]:
        items = board(world, project.id, suite_id, stage=stage, rows=Rows.EVALUATIONS)
        return {round(item.value, 9) for item in items}

    by_first = round(sum(GOOD.values()) / 3, 9)
    by_champion = round((GOOD["easy"] + GOOD["mid"] + 8 * GOOD["hard"]) / 10, 9)
    assert overall() == overall("dev") == {by_first}

    world.run(bootstrapping(champion))
    judge_again(world)

    assert overall() == overall("dev") == {by_champion}
    assert [row.cause for row in assessed(world, project.id, dev)] == ["weights_changed", "posted"]
    assert row_of(world, project.id, first).weights_version == 2


def test_which_evaluation_is_first_is_a_matter_of_its_id_and_not_of_arrival(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    early_id, late_id = sorted(uuid4() for _ in range(2))
    uneven = {"easy": 100, "mid": 100, "hard": 800}
    late = posted(world, a_run(world, "late").run_id, GOOD, evaluation_id=late_id)
    early = posted(world, a_run(world, "early").run_id, GOOD, n=uneven, evaluation_id=early_id)

    judge_again(world)

    by_early = (GOOD["easy"] + GOOD["mid"] + 8 * GOOD["hard"]) / 10
    values = {item.evaluation_id: item.value for item in board(world, project.id, suite_id)}
    assert values == pytest.approx({late: by_early, early: by_early})


def test_equal_shares_of_the_first_champion_make_nothing_stale_in_other_stages(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    dev = posted(world, a_run(world, "first").run_id, stage="dev")
    champion = posted(world, a_run(world, "second").run_id)

    world.run(bootstrapping(champion))

    assert stale_ids(world) == {champion}
    assert row_of(world, project.id, dev).weights_version == 1


def test_every_stored_assessment_computes_again_to_the_same_verdict(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    ids = [
        posted(
            world,
            a_run(world, f"run-{i}", seed=i or None).run_id,
            groups,
            n={"easy": 50 + i, "mid": 1000, "hard": 20 + i},
            stated=Stated(n=9, overall={METRIC: 0.3}),
            loss=Loss(
                train=0.1, val=0.2, total=0.3, parts={"b": 0.1, "a": 0.2}, weights={"a": 1.0, "b": 1.0}
            ),
        )
        for i, groups in enumerate(
            [GOOD, BETTER, BAD, {**GOOD, "hard": float("nan")}, {"easy": 0.1, "new": 1.0}]
        )
    ]
    world.run(moving(EventKind.OVERRIDE, ids[0], version=0, reason="first"))
    judge_again(world)
    world.run(moving(EventKind.OVERRIDE, ids[1], version=1, reason="second"))
    judge_again(world)
    # The run says more of itself later; what was computed before must not change.
    world.run(
        lambda session: open_run(
            session,
            ADMIN,
            project_key="burgers",
            run_key="run-2",
            request=OpenRun(attempt_id=uuid4(), seed=7, split_seeded=False),
            now=NOW + timedelta(hours=1),
            new_id=uuid4,
        )
    )

    for evaluation_id in ids:
        rows = assessed(world, project.id, evaluation_id)
        assert len(rows) == 3
        for row in rows:
            with world.transaction() as session:
                stored = assessments.load_verdict(
                    session, project_id=project.id, evaluation_id=evaluation_id, number=row.number
                )
                assert plain(recompute(session, row)) == plain(stored)
