from __future__ import annotations

import math
from uuid import UUID, uuid4

import pytest

from app.db.leaderboards import Rows
from app.db.projects import ProjectRow
from app.domain.evaluations import Bound, Purpose, Value
from app.services.evaluations import PostedEvaluation
from app.services.runs import archive_run
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    METRIC,
    a_suite,
    board,
    bootstrapping,
    marking_run,
    posted,
    posting,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def suite_id(world: World, project: ProjectRow) -> UUID:
    return a_suite(world)


def test_runs_are_ranked_by_their_latest_candidate(world: World, project: ProjectRow, suite_id: UUID) -> None:
    first, second = a_run(world, "first"), a_run(world, "second")
    posted(world, first.run_id, BETTER, step=1)
    posted(world, first.run_id, BAD, step=2)
    posted(world, second.run_id, GOOD, step=1)
    posted(world, second.run_id, BETTER, step=9, purpose=Purpose.PROGRESS)

    runs = board(world, project.id, suite_id)
    every = board(world, project.id, suite_id, rows=Rows.EVALUATIONS)

    assert [(item.rank, item.run_key) for item in runs] == [(1, "second"), (2, "first")]
    assert [(item.rank, item.run_key) for item in every] == [(1, "first"), (2, "second"), (3, "first")]
    assert runs[0].value == pytest.approx(sum(GOOD.values()) / 3)


def test_a_late_arrival_of_something_older_does_not_become_latest(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "first")
    newest = posted(world, run.run_id, GOOD, step=5)

    for step in (None, 0, 4):
        posted(world, run.run_id, BETTER, step=step)

    assert [item.evaluation_id for item in board(world, project.id, suite_id)] == [newest]


@pytest.mark.parametrize("group", ["overall", "hard", "tier:hard", "macro"])
def test_every_cell_has_its_board(group: str, world: World, project: ProjectRow, suite_id: UUID) -> None:
    posted(world, a_run(world, "good").run_id, GOOD)
    posted(world, a_run(world, "bad").run_id, BAD)

    assert [item.run_key for item in board(world, project.id, suite_id, group=group)] == ["good", "bad"]


def test_bounds_stand_behind_exact_values_and_what_is_not_finite_last(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    def a_value(run: str, value: float, bound: Bound = Bound.EXACT) -> None:
        values = (Value(metric=METRIC, group="hard", value=value, bound=bound),)
        world.run(posting(a_run(world, run).run_id, PostedEvaluation(suite="heights", values=values)))

    a_value("nan", math.nan)
    a_value("minus_infinity", -math.inf)
    a_value("bound", 0.01, Bound.AT_LEAST)
    a_value("large", 1e300)
    a_value("small", 0.5)

    ranked = [item.run_key for item in board(world, project.id, suite_id, group="hard")]

    assert ranked[:3] == ["small", "large", "bound"]
    assert set(ranked[3:]) == {"nan", "minus_infinity"}


def test_higher_is_better_where_the_metric_says_so(world: World, project: ProjectRow) -> None:
    suite_id = a_suite(world, key="acc", metrics={"accuracy": {}})
    for run, value in (("low", 0.5), ("high", 0.9), ("middle", 0.7)):
        posted(world, a_run(world, run).run_id, {"easy": value}, suite="acc", metric="accuracy")

    ranked = board(world, project.id, suite_id, metric="accuracy", group="easy")

    assert [item.run_key for item in ranked] == ["high", "middle", "low"]


def test_pages_follow_each_other_without_gap_or_repeat(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    for i in range(7):
        posted(world, a_run(world, f"run-{i}").run_id, {**GOOD, "hard": 0.4 + (i // 2) / 10})
    whole = board(world, project.id, suite_id)

    pages, after = [], None
    while page := board(world, project.id, suite_id, limit=2, after=after):
        pages += page
        after = page[-1].after

    assert pages == whole
    assert [item.rank for item in pages] == list(range(1, 8))


def test_what_does_not_count_is_shown_on_request_with_the_reason_and_without_a_rank(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    invalid, archived = a_run(world, "invalid"), a_run(world, "archived")
    for run in (invalid, archived, a_run(world, "good")):
        posted(world, run.run_id, GOOD)
    world.run(marking_run(invalid.run_id, reason="leaked"))
    world.run(lambda session: archive_run(session, ADMIN, run_id=archived.run_id, now=NOW))

    shown = board(world, project.id, suite_id, ineligible=True)

    assert [item.run_key for item in board(world, project.id, suite_id)] == ["good"]
    assert {(item.run_key, item.rank, item.eligible, item.reason) for item in shown} == {
        ("good", 1, True, None),
        ("invalid", None, False, "leaked"),
        ("archived", None, False, "the run is archived"),
    }
    assert {item.gate for item in shown if item.run_key == "invalid"} == {"closed"}


def test_pages_with_rows_that_do_not_count_follow_each_other_without_gap_or_repeat(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    for i in range(8):
        run = a_run(world, f"run-{i}", tags=("t",))
        posted(world, run.run_id, {**GOOD, "hard": 0.4 + i / 10})
        if i % 3 == 1:
            world.run(marking_run(run.run_id, reason="leaked"))
    whole = board(world, project.id, suite_id, ineligible=True)

    pages, after = [], None
    while len(pages) <= len(whole) and (
        page := board(world, project.id, suite_id, ineligible=True, limit=3, after=after, tags=("t",))
    ):
        pages += page
        after = page[-1].after

    assert pages == whole
    assert [item.rank for item in pages] == [1, None, 2, 3, None, 4, 5, None]


def test_a_row_names_the_group_that_got_worst_against_the_champion(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    world.run(bootstrapping(posted(world, a_run(world, "first").run_id, GOOD)))

    posted(world, a_run(world, "second").run_id, BAD)

    (worst,) = [item.worst for item in board(world, project.id, suite_id) if item.run_key == "second"]
    assert worst == ("hard", pytest.approx(1.0))


def test_only_runs_that_have_all_the_tags(world: World, project: ProjectRow, suite_id: UUID) -> None:
    posted(world, a_run(world, "both", tags=("a", "b")).run_id)
    posted(world, a_run(world, "one", tags=("a",)).run_id)

    def tagged(*tags: str) -> set[str]:
        return {item.run_key for item in board(world, project.id, suite_id, tags=tags)}

    assert (tagged("a"), tagged("b", "a"), tagged("c")) == ({"both", "one"}, {"both"}, set())


def test_a_new_version_that_only_adds_a_group_keeps_the_board(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    posted(world, a_run(world, "first").run_id, GOOD)
    groups = [{"name": name, "tier": name} for name in (*GOOD, "extreme")]
    a_suite(world, groups=groups)

    posted(world, a_run(world, "second").run_id, BETTER)

    assert [i.run_key for i in board(world, project.id, suite_id, group="hard")] == ["second", "first"]
    a_suite(world, groups=groups, split="redrawn")
    assert board(world, project.id, suite_id, group="hard") == []


def test_two_evaluations_without_a_step_are_ordered_by_id(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    run = a_run(world, "first")
    older, newer = sorted(uuid4() for _ in range(2))
    posted(world, run.run_id, GOOD, evaluation_id=newer)

    posted(world, run.run_id, BETTER, evaluation_id=older)

    assert [item.evaluation_id for item in board(world, project.id, suite_id)] == [newer]
