"""The words of a verdict: outcomes, checks, the gate (RULES.md, opening and *The gate*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Outcome(StrEnum):
    """What one rule says of one metric × group. A comparison that cannot be made never reads as a pass."""

    PASS = "pass"  # noqa: S105
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    REGRESSED = "regressed"
    FAILED = "failed"
    NOT_EVALUATED = "not_evaluated"


class Gate(StrEnum):
    OPEN = "open"
    UNDECIDED = "undecided"
    CLOSED = "closed"


class Rule(StrEnum):
    """Which rule made a check."""

    REGRESSION = "regression"
    TREND = "trend"
    MASKED = "masked"
    LIMIT = "limit"
    COUNT = "count"
    OVERALL = "overall"
    LOSS_DECOMPOSITION = "loss_decomposition"
    GAP = "gap"
    IMBALANCE = "imbalance"
    REPRODUCIBLE = "reproducible"
    MIX_SHIFT = "mix_shift"

    @property
    def alert_kind(self) -> str:
        """The kind of alert that a failure of this rule opens: `regression`, `limit` or `integrity`."""
        if self in (Rule.REGRESSION, Rule.TREND, Rule.MASKED):
            return "regression"
        return "limit" if self is Rule.LIMIT else "integrity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule applied to one metric × group.

    Args:
        reason: Why it failed, was inconclusive or not evaluated (`non_finite`, `seed_noise`, …); None for pass,
            improved and a plain regression.
        notes: Explain an outcome without changing it (`n_unknown`, `single_seed`, …).
        baseline, candidate: The two numbers compared, in the metric's unit: means where the champion's seeds
            are known (`detail.seeds` says of how many); None where there is none.
        worsening: Relative change, positive = worse whatever the direction; None where undefined.
        limit: Regression, trend: the largest `worse` that still passes. Limits: the max or min that applied.
        detail: Evidence as JSON (numbers of a reconciliation, names of masked groups, groups compared).
    """

    rule: Rule
    metric: str | None = None
    group: str | None = None
    outcome: Outcome
    required: bool
    reason: str | None = None
    notes: tuple[str, ...] = ()
    baseline: float | None = None
    candidate: float | None = None
    worsening: float | None = None
    limit: float | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One column computed by the server from group values with the suite's weights.

    Args:
        name: `overall`, `macro`, `tier:<tier>`, `tier-balanced`, `worst` (by worsening) or `geomean_ratio`.
        value: The candidate's value (with the champion's seeds known the mean of its seeds, as in Check);
            `geomean_ratio` is dimensionless, < 1 better for lower-is-better metrics.
        baseline: The champion's, over the same groups (with seeds known their mean).
        worsening: As in Check; for `worst` the largest worsening of a group.
        groups_used, groups_total: How many groups both sides had, and how many the suite or either side has.
        left_out: Groups not pooled, with the reason (`censored`, `missing_group`, `no_weight`, …).
        group: For `worst`, which group it is.
    """

    metric: str
    name: str
    value: float | None
    baseline: float | None = None
    worsening: float | None = None
    groups_used: int
    groups_total: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All outcomes together with the gate and a sentence that a tired person understands.

    Args:
        judged_cells, total_cells: How many metric × group cells were judged against a champion, of how many.
    """

    gate: Gate
    sentence: str
    checks: tuple[Check, ...]
    aggregates: tuple[Aggregate, ...]
    judged_cells: int
    total_cells: int
