"""What a comparison of runs answers.

Values by run are objects keyed by run: a run that has no such value is not among the keys, and `absent` names it. So
null and 0 are always values that a run really has.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict

from app.api.answers import Answer, Number
from app.api.compare_example import COMPARE_EXAMPLE


class ComparedRunAnswer(Answer):
    """`recipe` is equal for runs that differ by nothing but their seed."""

    run: str
    run_id: UUID
    name: str
    run_group: str | None
    status: str
    validity: str
    validity_reason: str | None
    archived_at: datetime | None
    tags: list[str]
    seed: int | None
    split_seeded: bool | None
    git_commit: str | None
    git_dirty: bool | None
    recipe: str
    created_at: datetime


class EntryAnswer(Answer):
    """One key, with dots for nesting.

    `kind`: of a config key `recipe`, or `volatile` where the policy says that it is no part of the recipe; of the
    environment `determinism`, `version`, `hardware` or `other`.
    """

    key: str
    kind: str
    values: dict[str, Any]
    absent: list[str]


class DifferenceAnswer(Answer):
    """What differs, and how many keys are the same; those only with `all=true`."""

    different: list[EntryAnswer]
    equal: int
    same: list[EntryAnswer] | None


class ComparedEvaluationAnswer(Answer):
    """The run's latest valid candidate; `is_latest` is false where all its candidates are invalid."""

    evaluation: UUID
    suite_version: int
    attempt: int
    step: int | None
    gate: str
    sentence: str
    stale: bool
    validity: str
    reason: str | None
    is_latest: bool
    champion: bool
    created_at: datetime


class ComparedCellAnswer(Answer):
    """One number.

    `change` is the worsening against the base, positive = worse; null for the base, and where `reason` says why it is
    not known. `incomparable` numbers mean something else than the base's: `differing` says in what.
    """

    value: Number
    bound: str
    n: int | None
    stderr: Number | None
    change: Number | None
    reason: str | None
    differing: list[str]
    mark: Literal["best", "worst"] | None


class ComparedRowAnswer(Answer):
    metric: str
    direction: str | None
    unit: str | None
    group: str
    kind: Literal["overall", "macro", "tier", "group"]
    cells: dict[str, ComparedCellAnswer]
    absent: list[str]


class AgainstChampionAnswer(Answer):
    """An aggregate as the run's newest verdict stored it: against the champion of that verdict."""

    value: Number | None
    worsening: Number | None
    group: str | None
    groups_used: int
    groups_total: int


class AggregateRowAnswer(Answer):
    metric: str
    name: str
    runs: dict[str, AgainstChampionAnswer]


class ComparedSuiteAnswer(Answer):
    """The runs on one suite and stage; the others are measured against `base`."""

    suite: str
    stage: str
    base: str
    base_because: Literal["asked", "champion", "first"]
    evaluations: dict[str, ComparedEvaluationAnswer]
    absent: list[str]
    rows: list[ComparedRowAnswer]
    against_champion: list[AggregateRowAnswer]


class NotSharedAnswer(Answer):
    suite: str
    stage: str
    run: str


class CompareAnswer(Answer):
    """Runs beside each other."""

    model_config = ConfigDict(json_schema_extra={"example": COMPARE_EXAMPLE})

    project: str
    runs: list[ComparedRunAnswer]
    config: DifferenceAnswer
    seeds: list[EntryAnswer]
    environment: DifferenceAnswer
    suites: list[ComparedSuiteAnswer]
    not_shared: list[NotSharedAnswer]
