"""What leaderboards answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

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
    suite: str
    stage: str
    metric: str
    group: str
    direction: str
    seeds: Literal["mean"] = "mean"
    champion: SeedChampionAnswer | None
    items: list[SeedBoardItemAnswer]
    next_cursor: str | None
