"""What leaderboards answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict

from app.api.answers import Answer, Document, Number


class BoardChampionAnswer(Answer):
    evaluation: UUID
    run: str
    value: Number | None


class WorstAnswer(Answer):
    group: str
    worsening: Number | None


class BoardItemAnswer(Answer):
    rank: int | None
    run: str
    run_id: UUID
    name: str
    evaluation: UUID
    value: Number
    bound: str
    n: int | None
    change: Number | None
    worst: WorstAnswer | None
    gate: str
    stale: bool
    eligible: bool
    reason: str | None
    champion: bool
    tags: list[str]
    created_at: datetime


class BoardAnswer(Answer):
    suite: str
    stage: str
    metric: str
    group: str
    direction: str
    champion: BoardChampionAnswer | None
    items: list[BoardItemAnswer]
    next_cursor: str | None


_BEST: dict[str, Any] = {
    "run": "lr0.1-seed0",
    "run_id": "5b0c3a3e-6f1c-4d7e-8f57-3c1d0a2b4c5d",
    "name": "lr 0.1",
    "seed": 0,
    "evaluation": "01936b1e-0000-7000-8000-000000000002",
    "value": 0.15,
    "bound": "exact",
}
_SEED_BOARD: dict[str, Any] = {
    "suite": "burgers-val",
    "stage": "final",
    "metric": "mse",
    "group": "overall",
    "direction": "lower",
    "seeds": "mean",
    "champion": None,
    "items": [
        {
            "rank": 1,
            "recipe": "7d9f3a52c1e04b6f8a90b1c2d3e4f506",
            "mean": 0.1575,
            "std": 0.0075,
            "n": 3,
            "left_out": {"bounds": 0, "non_finite": 0, "repeated_seeds": 0},
            "change": None,
            "champion": False,
            "config": {"optimizer.lr": 0.1},
            "git_commit": None,
            "best": _BEST,
            "runs": [_BEST],
            "more_runs": 2,
        }
    ],
    "next_cursor": None,
}


class DrawAnswer(Answer):
    """One run of a recipe, by its latest evaluation."""

    run: str
    run_id: UUID
    name: str
    seed: int | None
    evaluation: UUID
    value: Number
    bound: str


class LeftOutAnswer(Answer):
    """Runs that are not in the mean: only a bound, not finite, or of a seed that another run has named before."""

    bounds: int
    non_finite: int
    repeated_seeds: int


class SeedChampionAnswer(Answer):
    """What changes are measured against: the mean of the champion's recipe, or the champion's own value."""

    evaluation: UUID
    run: str
    value: Number | None
    basis: Literal["mean", "value"]
    n: int | None
    std: Number | None


class SeedBoardItemAnswer(Answer):
    """One recipe.

    `mean` and `std` (sample deviation, null for one seed) are of the `n` exact, finite seeds. A recipe with seeds
    left out as bounds or as not finite ranks behind those without, and its `change` is null.
    """

    rank: int
    recipe: str
    mean: Number | None
    std: Number | None
    n: int
    left_out: LeftOutAnswer
    change: Number | None
    champion: bool
    config: Document
    git_commit: str | None
    best: DrawAnswer
    runs: list[DrawAnswer]
    more_runs: int


class SeedBoardAnswer(Answer):
    """Recipes by the mean over their seeds."""

    model_config = ConfigDict(json_schema_extra={"example": _SEED_BOARD})

    suite: str
    stage: str
    metric: str
    group: str
    direction: str
    seeds: Literal["mean"] = "mean"
    champion: SeedChampionAnswer | None
    items: list[SeedBoardItemAnswer]
    next_cursor: str | None
