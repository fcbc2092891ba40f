"""Boards of recipes: the mean over the seeds of each, best mean first.

There is no table of means: with 100,000 runs on a board, grouping its rows takes a third of a second (measured on two
cores), and every post would have to pay for keeping means, for a board that is looked at now and then.

Which runs are one recipe's draws follows the verdicts (docs/decisions/0009): of runs that name the same seed the first
counts, by evaluation id. Means are computed in `numeric`: float sums depend on the order of the rows, and a mean
that changes in its last digit between two requests would lose a row between two pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Numeric,
    Select,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.db.leaderboards import has_tags, of_evaluation, of_run
from app.db.tables import evaluation, leaderboard_row, run
from app.domain.metrics import Direction, Metric
from app.domain.ranking import EXACT, NOT_FINITE, ONLY_A_BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPlace:
    """Which board: one number of one suite at one stage."""

    project_id: UUID
    suite_id: UUID
    stage: str
    cell: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeItem:
    """One recipe on a board.

    Args:
        rank: From 1.
        mean: Over the exact, finite draws; None when there is none.
        std: Sample deviation of the same; None for fewer than two.
        n: How many those are.
        bounds, non_finite: How many draws are left out of the mean because they are only a bound or not finite.
            Recipes with either rank behind those with neither, non-finite last.
        repeats: How many runs name a seed that an earlier run of the recipe names, and are no draw of their own.
        after: What the next page is asked for with: rank, class, whether there is no mean, order key, recipe.
    """

    rank: int
    recipe: bytes
    mean: float | None
    std: float | None
    n: int
    bounds: int
    non_finite: int
    repeats: int
    after: tuple[int, int, int, Decimal, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRun:
    """One run of a recipe on a board, by its latest evaluation."""

    recipe: bytes
    run_id: UUID
    run_key: str
    name: str
    seed: int | None
    config: dict[str, Any]
    git_commit: str | None
    evaluation_id: UUID
    value: float
    bound: str


def page(
    session: Session,
    place: BoardPlace,
    *,
    metric: Metric,
    limit: int,
    after: tuple[int, int, int, Decimal, bytes] | None = None,
    tags: Sequence[str] = (),
) -> list[RecipeItem]:
    """One page of recipes, best mean first; only of runs that have all the tags."""
    means = _means(_draws(place, tags=tags), metric).subquery("means")
    order = (means.c.sort_class, means.c.is_empty, means.c.sort_key, means.c.recipe)
    query = select(means)
    if after is not None:
        there = [literal(part, column.type) for part, column in zip(after[1:], order, strict=True)]
        query = query.where(tuple_(*order) > tuple_(*there))
    rows = session.execute(query.order_by(*order).limit(limit)).mappings()
    ranked = 0 if after is None else after[0]
    return [_item(row, ranked + i) for i, row in enumerate(rows, 1)]


def of_recipe(session: Session, place: BoardPlace, *, metric: Metric, recipe: bytes) -> RecipeItem | None:
    """The recipe's mean whatever the tags of its runs; its rank means nothing."""
    query = _means(_draws(place, recipes=[recipe]), metric)
    row = session.execute(query).mappings().first()
    return None if row is None else _item(row, 0)


def runs_of(
    session: Session,
    place: BoardPlace,
    *,
    recipes: Iterable[bytes],
    tags: Sequence[str] = (),
    shown: int,
) -> dict[bytes, list[RecipeRun]]:
    """The best `shown` draws of each recipe, best first."""
    draws = _draws(place, recipes=list(recipes), tags=tags, and_more=(leaderboard_row.c.bound,)).subquery(
        "draws"
    )
    number = (
        func.row_number()
        .over(
            partition_by=draws.c.recipe,
            order_by=(draws.c.sort_class, draws.c.sort_key, draws.c.evaluation_id),
        )
        .label("number")
    )
    numbered = select(draws, number).where(draws.c.repeat == 1).subquery("numbered")
    query = (
        select(
            numbered.c.recipe,
            numbered.c.run_id,
            run.c.key.label("run_key"),
            run.c.name,
            run.c.seed,
            run.c.config,
            run.c.git_commit,
            numbered.c.evaluation_id,
            numbered.c.value,
            numbered.c.bound,
        )
        .join(run, and_(run.c.project_id == place.project_id, run.c.id == numbered.c.run_id))
        .where(numbered.c.number <= shown)
        .order_by(numbered.c.recipe, numbered.c.number)
    )
    found: dict[bytes, list[RecipeRun]] = {}
    for row in session.execute(query).mappings():
        found.setdefault(row["recipe"], []).append(RecipeRun(**row))
    return found


def _draws(
    place: BoardPlace,
    *,
    recipes: Sequence[bytes] | None = None,
    tags: Sequence[str] = (),
    and_more: tuple[ColumnElement[Any], ...] = (),
) -> Select[Any]:
    """Every run that counts, `repeat` 1 for those that are a draw of their own."""
    rows = leaderboard_row.c
    # A run that names no seed is a draw of its own.
    same_seed = (rows.recipe, run.c.seed, case((run.c.seed.is_(None), rows.run_id)))
    query = select(
        rows.recipe,
        rows.run_id,
        rows.evaluation_id,
        rows.value,
        rows.sort_class,
        rows.sort_key,
        func.row_number().over(partition_by=same_seed, order_by=rows.evaluation_id).label("repeat"),
        *and_more,
    ).where(
        rows.project_id == place.project_id,
        rows.suite_id == place.suite_id,
        rows.stage == place.stage,
        rows.cell == place.cell,
        rows.is_latest,
        rows.eligible,
    )
    if recipes is None:
        query = query.join(run, of_run())
    else:
        # Begins at the recipe's runs, for which there is an index, and goes by way of their latest evaluations.
        query = (
            query.join(evaluation, and_(of_evaluation(), evaluation.c.is_latest))
            .join(run, and_(run.c.project_id == evaluation.c.project_id, run.c.id == evaluation.c.run_id))
            .where(run.c.recipe == any_(cast(list(recipes), ARRAY(LargeBinary))))
        )
    return query.where(has_tags(tags)) if tags else query


def _means(draws: Select[Any], metric: Metric) -> Select[Any]:
    rows = draws.subquery("draws").c
    is_draw = rows.repeat == 1
    # FILTER comes before the cast, so that no NaN is ever cast.
    exact = and_(is_draw, rows.sort_class == EXACT)
    value = cast(rows.value, Numeric)
    mean = func.avg(value).filter(exact)
    if metric.direction is Direction.TARGET:
        key: ColumnElement[Any] = func.abs(mean - cast(literal(metric.target or 0.0), Numeric))
    else:
        key = -mean if metric.direction is Direction.HIGHER else mean
    return select(
        rows.recipe,
        func.max(case((is_draw, rows.sort_class), else_=EXACT)).label("sort_class"),
        case((mean.is_(None), 1), else_=0).label("is_empty"),
        func.coalesce(key, cast(0, Numeric), type_=Numeric()).label("sort_key"),
        mean.label("mean"),
        func.stddev_samp(value).filter(exact).label("std"),
        func.count().filter(exact).label("n"),
        func.count().filter(and_(is_draw, rows.sort_class == ONLY_A_BOUND)).label("bounds"),
        func.count().filter(and_(is_draw, rows.sort_class == NOT_FINITE)).label("non_finite"),
        func.count().filter(~is_draw).label("repeats"),
    ).group_by(rows.recipe)


def _item(row: Any, rank: int) -> RecipeItem:
    return RecipeItem(
        rank=rank,
        recipe=row["recipe"],
        # A decimal that is too small for a float becomes 0 here; cast in Postgres it would be an error.
        mean=None if row["mean"] is None else float(row["mean"]),
        std=None if row["std"] is None else float(row["std"]),
        n=row["n"],
        bounds=row["bounds"],
        non_finite=row["non_finite"],
        repeats=row["repeats"],
        after=(rank, row["sort_class"], row["is_empty"], row["sort_key"], row["recipe"]),
    )
