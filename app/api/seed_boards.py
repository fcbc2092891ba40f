"""Leaderboards of recipes: one row for all seeds of one configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from app.api.board_answers import (
    DrawAnswer,
    LeftOutAnswer,
    SeedBoardAnswer,
    SeedBoardItemAnswer,
    SeedChampionAnswer,
)
from app.api.dependencies import Page, a_text, a_whole, cursor_of
from app.db import Session, board_details, policies, seed_boards
from app.db.seed_boards import BoardPlace, RecipeItem, RecipeRun
from app.domain.comparison import worsening
from app.domain.configurations import entries, is_seed, is_volatile
from app.domain.metrics import Metric
from app.domain.policies import Policy

SHOWN_RUNS = 10
SHOWN_KEYS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedBoardQuery:
    """A board of recipes that is asked for.

    Args:
        champion: The evaluation that is champion of the suite and stage.
    """

    place: BoardPlace
    suite: str
    metric: Metric
    group: str
    champion: UUID | None
    tags: Sequence[str]


def seed_board(session: Session, query: SeedBoardQuery, page: Page) -> SeedBoardAnswer:
    found = seed_boards.page(
        session,
        query.place,
        metric=query.metric,
        limit=page.limit + 1,
        after=_after(page),
        tags=query.tags,
    )
    shown = found[: page.limit]
    runs = seed_boards.runs_of(
        session,
        query.place,
        recipes=[item.recipe for item in shown],
        tags=query.tags,
        shown=SHOWN_RUNS,
    )
    policy = policies.newest(session, query.place.project_id)
    champion, recipe = _champion(session, query, policy)
    telling = _telling_keys(policy, [runs[item.recipe][0] for item in shown if item.recipe in runs])
    return SeedBoardAnswer(
        suite=query.suite,
        stage=query.place.stage,
        metric=query.metric.name,
        group=query.group,
        direction=str(query.metric.direction),
        champion=champion,
        items=[
            _item(item, runs[item.recipe], query.metric, champion, telling, is_champion=item.recipe == recipe)
            for item in shown
            # A run that was made invalid since the statement before may have been the only one.
            if item.recipe in runs
        ],
        next_cursor=_cursor(shown[-1]) if len(found) > page.limit else None,
    )


def _champion(
    session: Session, query: SeedBoardQuery, policy: Policy
) -> tuple[SeedChampionAnswer | None, bytes | None]:
    """What changes are measured against, and its recipe where it is on this board."""
    if query.champion is None:
        return None, None
    project_id, cell = query.place.project_id, query.place.cell
    found = board_details.standing_of(session, project_id=project_id, evaluation_id=query.champion, cell=cell)
    if found is None:
        return None, None
    mean = (
        None
        if found.recipe is None
        else seed_boards.of_recipe(session, query.place, metric=query.metric, recipe=found.recipe)
    )
    if mean is not None and mean.n >= policy.min_seeds and mean.mean is not None and not _is_partial(mean):
        answer = SeedChampionAnswer(
            evaluation=query.champion,
            run=found.run_key,
            value=mean.mean,
            basis="mean",
            n=mean.n,
            std=mean.std,
        )
    else:
        answer = SeedChampionAnswer(
            evaluation=query.champion,
            run=found.run_key,
            value=found.value,
            basis="value",
            n=None if found.value is None else 1,
            std=None,
        )
    return answer, found.recipe


def _is_partial(item: RecipeItem) -> bool:
    return bool(item.bounds or item.non_finite)


def _telling_keys(policy: Policy, runs: Sequence[RecipeRun]) -> dict[bytes, dict[str, Any]]:
    """By recipe: the keys by which the recipes of this page tell themselves apart."""
    differing = [
        entry
        for entry in entries([run.config for run in runs])
        if entry.differs and not is_seed(entry.key) and not is_volatile(entry.key, policy.volatile)
    ][:SHOWN_KEYS]
    return {
        run.recipe: {entry.key: leaf.value for entry in differing if (leaf := entry.leaves[i]) is not None}
        for i, run in enumerate(runs)
    }


def _item(
    item: RecipeItem,
    runs: Sequence[RecipeRun],
    metric: Metric,
    champion: SeedChampionAnswer | None,
    telling: dict[bytes, dict[str, Any]],
    *,
    is_champion: bool,
) -> SeedBoardItemAnswer:
    return SeedBoardItemAnswer(
        rank=item.rank,
        recipe=item.recipe.hex(),
        mean=item.mean,
        std=item.std,
        n=item.n,
        left_out=LeftOutAnswer(bounds=item.bounds, non_finite=item.non_finite, repeated_seeds=item.repeats),
        change=_change(metric, item, champion),
        champion=is_champion,
        config=telling[item.recipe],
        git_commit=runs[0].git_commit,
        best=_draw(runs[0]),
        runs=[_draw(run) for run in runs],
        more_runs=item.n + item.bounds + item.non_finite - len(runs),
    )


def _draw(run: RecipeRun) -> DrawAnswer:
    return DrawAnswer(
        run=run.run_key,
        run_id=run.run_id,
        name=run.name,
        seed=run.seed,
        evaluation=run.evaluation_id,
        value=run.value,
        bound=run.bound,
    )


def _change(metric: Metric, item: RecipeItem, champion: SeedChampionAnswer | None) -> float | None:
    """A mean that leaves seeds out is no better than it looks: it is not compared."""
    if champion is None or champion.value is None or item.mean is None or _is_partial(item):
        return None
    return worsening(metric, champion.value, item.mean) if math.isfinite(champion.value) else None


# Of floats no mean, and so no distance to a target, has more digits before or after its point.
_LARGEST_EXPONENT = 400
_LONGEST_KEY = 1000


def _a_kind(value: Any) -> str:
    if value != "mean":
        raise ValueError("a cursor of another list")
    return "mean"


def _a_class(value: Any) -> int:
    number = a_whole(value)
    if not 0 <= number <= 2:
        raise ValueError("no class")
    return number


def _a_key(value: Any) -> Decimal:
    text = a_text(value)
    if len(text) > _LONGEST_KEY:
        raise ValueError("too long")
    try:
        key = Decimal(text)
    except InvalidOperation:
        raise ValueError("no number") from None
    if not key.is_finite() or abs(key.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("no such number")
    return key


def _after(page: Page) -> tuple[int, int, int, Decimal, bytes] | None:
    read = page.after_as(
        _a_kind, a_whole, _a_class, _a_class, _a_key, lambda text: bytes.fromhex(a_text(text))
    )
    return None if read is None else (read[1], read[2], read[3], read[4], read[5])


def _cursor(item: RecipeItem) -> str:
    rank, sort_class, is_empty, key, recipe = item.after
    return cursor_of("mean", rank, sort_class, is_empty, str(key), recipe.hex())
