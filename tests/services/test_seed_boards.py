"""Boards of recipes: means over seeds, whole pages, and no diverged seed that vanishes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from app.db import Session, seed_boards, suites
from app.db.projects import ProjectRow
from app.db.seed_boards import BoardPlace, RecipeItem
from app.domain.evaluations import Bound, Value
from app.domain.suites import cell_digest, find_metric
from app.services.evaluations import PostedEvaluation
from tests.services.claims import METRIC, a_suite, marking_run, posted, posting
from tests.services.world import World, a_project, a_run


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


@pytest.fixture
def suite_id(world: World, project: ProjectRow) -> UUID:
    return a_suite(world)


def seeds(
    world: World,
    recipe: str,
    values: Sequence[float],
    *,
    bounds: Mapping[int, Bound] | None = None,
    seed_of: Mapping[int, int | None] | None = None,
    suite: str = "heights",
    metric: str = METRIC,
    tags: tuple[str, ...] = (),
) -> list[UUID]:
    """Runs `<recipe>-<i>` of one recipe with seeds 0, 1, …, each with its value in group hard; their ids."""
    ids = []
    for i, value in enumerate(values):
        seed = (seed_of or {}).get(i, i)
        run = a_run(world, f"{recipe}-{i}", config={"recipe": recipe}, seed=seed, tags=tags)
        bound = (bounds or {}).get(i, Bound.EXACT)
        post = PostedEvaluation(
            suite=suite, values=(Value(metric=metric, group="hard", value=value, bound=bound),)
        )
        world.run(posting(run.run_id, post))
        ids.append(run.run_id)
    return ids


def place_of(
    session: Session, project: UUID, suite: str, metric: str, group: str = "hard"
) -> tuple[BoardPlace, seed_boards.Metric]:
    row = suites.newest(session, project_id=project, key=suite)
    assert row is not None
    known = find_metric(row.to_domain(), metric)
    cell = cell_digest(row.to_domain(), metric, group)
    assert known is not None
    assert cell is not None
    return BoardPlace(project_id=project, suite_id=row.id, stage="final", cell=cell), known


def means(
    world: World,
    project: ProjectRow,
    *,
    suite: str = "heights",
    metric: str = METRIC,
    limit: int = 100,
    after: object = None,
    tags: tuple[str, ...] = (),
) -> list[tuple[str, RecipeItem]]:
    """(the recipe's name, its item) in the order of the board."""

    def call(session: Session) -> list[tuple[str, RecipeItem]]:
        place, known = place_of(session, project.id, suite, metric)
        items = seed_boards.page(session, place, metric=known, limit=limit, after=after, tags=tags)  # type: ignore[arg-type]
        runs = seed_boards.runs_of(session, place, recipes=[item.recipe for item in items], shown=1)
        return [(runs[item.recipe][0].config["recipe"], item) for item in items]

    return world.run(call)


def test_recipes_are_ranked_by_the_mean_over_their_seeds(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    seeds(world, "steady", [0.5, 0.5, 0.5])
    seeds(world, "lucky", [0.1, 0.9, 0.95])
    seeds(world, "single", [0.55])

    found = means(world, project)

    assert [(name, item.rank, item.n) for name, item in found] == [
        ("steady", 1, 3),
        ("single", 2, 1),
        ("lucky", 3, 3),
    ]
    lucky = found[2][1]
    assert lucky.mean == pytest.approx(statistics.fmean([0.1, 0.9, 0.95]))
    assert lucky.std == pytest.approx(statistics.stdev([0.1, 0.9, 0.95]))
    assert (found[0][1].std, found[1][1].std) == (0.0, None)


def test_higher_is_better_and_a_target_is_approached_by_the_mean(world: World, project: ProjectRow) -> None:
    a_suite(world, key="acc", metrics={"accuracy": {}})
    a_suite(world, key="mass", metrics={"mass": {"direction": "target", "target": 1.0}})
    for recipe, values in (("low", [0.5, 0.6]), ("high", [0.9, 0.7])):
        seeds(world, recipe, values, suite="acc", metric="accuracy")
    for recipe, values in (("off", [1.2, 1.3]), ("around", [0.5, 1.6])):
        seeds(world, recipe, values, suite="mass", metric="mass")

    assert [name for name, _ in means(world, project, suite="acc", metric="accuracy")] == ["high", "low"]
    assert [name for name, _ in means(world, project, suite="mass", metric="mass")] == ["around", "off"]


def test_a_diverged_seed_does_not_vanish_and_takes_its_recipe_behind_the_others(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    seeds(world, "diverged", [0.1, math.nan, 0.1])
    seeds(world, "hopeless", [math.nan, math.inf])
    seeds(world, "bounded", [0.1, 0.1], bounds={1: Bound.AT_LEAST})
    seeds(world, "poor", [0.9, 0.8])

    found = means(world, project)

    assert [name for name, _ in found] == ["poor", "bounded", "diverged", "hopeless"]
    assert [(item.n, item.bounds, item.non_finite) for _, item in found] == [
        (2, 0, 0),
        (1, 1, 0),
        (2, 0, 1),
        (0, 0, 2),
    ]
    assert (found[2][1].mean, found[3][1].mean) == (0.1, None)


def test_a_seed_that_is_run_again_is_one_draw_and_the_first_counts(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    seeds(world, "again", [0.5, 0.7], seed_of={1: 0})
    seeds(world, "unknown", [0.8, 0.9], seed_of={0: None, 1: None})

    (again, unknown) = (item for _, item in means(world, project))

    assert (again.n, again.repeats, again.mean in (0.5, 0.7)) == (1, 1, True)
    assert (unknown.n, unknown.repeats) == (2, 0)


def test_an_invalid_run_is_no_draw_and_an_earlier_evaluation_of_a_run_neither(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    ids = seeds(world, "one", [0.1, 0.5, 0.7])
    world.run(marking_run(ids[0]))
    posted(world, ids[1], {"hard": 0.6}, step=10)

    ((_, item),) = means(world, project)

    assert (item.n, item.mean) == (2, pytest.approx(0.65))


def test_pages_of_recipes_follow_each_other_without_gap_or_repeat(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    # Thirds, so that floating sums would differ in their last digits; pairs of equal means, so that recipes decide.
    for i in range(8):
        values = [0.1 + (i // 2) / 3, 0.2, math.nan if i == 5 else 0.3]
        seeds(world, f"r{i}", values)
    whole = means(world, project)

    pages: list[tuple[str, RecipeItem]] = []
    after = None
    # Bounded: pages that repeat would never end.
    while len(pages) <= len(whole) and (page := means(world, project, limit=3, after=after)):
        pages += page
        after = page[-1][1].after

    assert pages == whole
    assert [item.rank for _, item in pages] == list(range(1, 9))
    assert pages[-1][0] == "r5"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([1.7e308, 1.7e308, 1.6e308], id="near the largest"),
        pytest.param([5e-324, 0.0, 0.0], id="below the smallest"),
        pytest.param([1e308, 5e-324], id="both"),
        pytest.param([-1e308, 1e308], id="of both signs"),
    ],
)
def test_no_finite_value_is_too_large_or_too_small(
    values: list[float], world: World, project: ProjectRow, suite_id: UUID
) -> None:
    seeds(world, "extreme", values)

    ((_, item),) = means(world, project)

    assert item.mean is not None
    assert item.std is not None
    assert math.isfinite(item.mean)
    assert math.isfinite(item.std)
    assert item.mean == pytest.approx(sum(value / len(values) for value in values))


def test_a_mean_is_over_runs_with_all_the_tags(world: World, project: ProjectRow, suite_id: UUID) -> None:
    seeds(world, "tagged", [0.5, 0.6], tags=("a", "b"))
    seeds(world, "half", [0.1, 0.2], tags=("a",))

    assert [name for name, _ in means(world, project, tags=("b", "a"))] == ["tagged"]


def test_the_best_runs_are_named_first_and_one_recipe_is_found_from_the_recipe(
    world: World, project: ProjectRow, suite_id: UUID
) -> None:
    seeds(world, "one", [0.5, 0.1, math.nan, 0.3])
    seeds(world, "other", [0.9])

    def call(session: Session) -> tuple[list[str], RecipeItem | None]:
        place, metric = place_of(session, project.id, "heights", METRIC)
        first = seed_boards.page(session, place, metric=metric, limit=2)[1].recipe
        runs = seed_boards.runs_of(session, place, recipes=[first], shown=3)
        return [run.run_key for run in runs[first]], seed_boards.of_recipe(
            session, place, metric=metric, recipe=first
        )

    runs, alone = world.run(call)

    assert runs == ["one-1", "one-3", "one-0"]
    assert alone is not None
    assert (alone.n, alone.non_finite, alone.mean) == (3, 1, pytest.approx(0.3))
