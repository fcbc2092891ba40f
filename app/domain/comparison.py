"""One metric, one group, two numbers (RULES.md, *One metric, one group, against the champion*).

worse  = gap(candidate) − gap(baseline)
scale  = gap(baseline)                                     no ideal: |baseline|
limit  = max of those given: abs_tol, rel_tol · scale      the policy may ask for min ("any")
regressed  iff beyond(worse, limit)
improved   iff beyond(−worse, improve_tol · scale)
worsening  = worse / scale                                 undefined when scale ≤ zero_tol
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from app.domain.evaluations import Bound, Value
from app.domain.metrics import Direction, Metric, gap, reference
from app.domain.outcomes import Json, Outcome
from app.domain.policy import Combine
from app.domain.scaling import LARGEST, beyond, exponent_for, ratio, scaled, unscaled
from app.domain.tolerances import Tolerances

__all__ = ["Comparison", "beyond", "compare", "difference", "gap", "is_impossible", "judge", "worsening"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outcome of comparing two numbers; fields as in Check.

    Args:
        advisory: Whether the gate must not depend on it, whatever the policy requires of the cell.
    """

    outcome: Outcome
    reason: str | None = None
    notes: tuple[str, ...] = ()
    worsening: float | None = None
    limit: float | None = None
    advisory: bool = False
    detail: Mapping[str, Json] = field(default_factory=dict)


# How two finite numbers are judged: baseline, then candidate.
Judgement: TypeAlias = Callable[[float, float], Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What separates a candidate from its baseline, in units of 2**exponent of the metric's own unit.

    Args:
        worse: How much further from perfect the candidate is; negative = better.
        scale: The baseline's distance to perfection; without an ideal its absolute value.
        size: The larger of the two numbers, for the slack of every comparison.
        limit: The largest `worse` that passes.
        improvement: `-worse` beyond it is an improvement.
        worsening: worse / scale; None on a zero baseline.
        limit_in_unit: The limit in the metric's own unit; None on a zero baseline without abs_tol, where
            nothing says how much worse is too much.
    """

    worse: float
    scale: float
    size: float
    limit: float
    improvement: float
    exponent: int
    worsening: float | None
    limit_in_unit: float | None

    def is_worse_than(self, amount: float) -> bool:
        return beyond(self.worse, amount, self.size)

    def is_better_than(self, amount: float) -> bool:
        return beyond(-self.worse, amount, self.size)

    @property
    def is_undecidable(self) -> bool:
        """Worse than a baseline of zero, and no absolute tolerance says how much is too much."""
        return self.limit_in_unit is None and self.is_worse_than(0.0)


def difference(metric: Metric, baseline: float, candidate: float, tolerances: Tolerances) -> Difference:
    """What separates two finite numbers, scaled so that nothing overflows."""
    exponent = exponent_for(baseline, candidate, reference(metric))
    b, c = scaled(baseline, exponent), scaled(candidate, exponent)
    gap_b = _scaled_gap(metric, b, exponent)
    worse = _scaled_gap(metric, c, exponent) - gap_b
    scale = gap_b if _has_ideal(metric) else abs(b)
    if _is_zero(metric, baseline, tolerances.zero_tol):
        # No share of zero can be taken, so only abs_tol tells how much is too much.
        limit_in_unit = tolerances.abs_tol
        limit = 0.0 if limit_in_unit is None else scaled(limit_in_unit, exponent)
        share = None
    else:
        limit = _limit(tolerances, scale, exponent)
        limit_in_unit = unscaled(limit, exponent)
        share = ratio(worse, scale)
    return Difference(
        worse=worse,
        scale=scale,
        size=max(abs(b), abs(c)),
        limit=limit,
        improvement=max(tolerances.improve_tol * scale, 0.0),
        exponent=exponent,
        worsening=share,
        limit_in_unit=limit_in_unit,
    )


def judge(
    metric: Metric, baseline: float, candidate: float, tolerances: Tolerances, noise: float = 0.0
) -> Comparison:
    """Compare two finite numbers by the effect alone.

    Args:
        noise: Two standard errors of the difference, in the metric's unit; a regression must exceed it too,
            else it is inconclusive (small_sample). 0 where no standard error is known.
    """
    found = difference(metric, baseline, candidate, tolerances)
    if found.is_undecidable:
        return Comparison(outcome=Outcome.NOT_EVALUATED, reason="zero_baseline")
    reason = None
    if found.is_worse_than(found.limit):
        outcome = Outcome.REGRESSED
        if not found.worse > scaled(noise, found.exponent):
            outcome, reason = Outcome.INCONCLUSIVE, "small_sample"
    else:
        outcome = Outcome.IMPROVED if found.is_better_than(found.improvement) else Outcome.PASS
    return Comparison(outcome=outcome, reason=reason, worsening=found.worsening, limit=found.limit_in_unit)


def worsening(metric: Metric, baseline: float, candidate: float, zero_tol: float = 1e-12) -> float | None:
    """Relative change of two finite numbers, positive = worse; None on a zero baseline."""
    if _is_zero(metric, baseline, zero_tol):
        return None
    return judge(metric, baseline, candidate, Tolerances(zero_tol=zero_tol)).worsening


def compare(metric: Metric, baseline: Value, candidate: Value, tolerances: Tolerances) -> Comparison:
    """Compare two finite values by the effect alone; either may be only a bound."""
    if baseline.bound is Bound.EXACT and candidate.bound is Bound.EXACT:
        return judge(
            metric, baseline.value, candidate.value, tolerances, two_standard_errors(baseline, candidate)
        )
    return compare_bounds(metric, baseline, candidate, lambda b, c: judge(metric, b, c, tolerances))


def compare_bounds(metric: Metric, baseline: Value, candidate: Value, judged_by: Judgement) -> Comparison:
    """Compare two finite values of which at least one is only a bound.

    A bound decides where the outcome is the same whatever the true value: at its worst and at its best. Pass
    at worst and improved at best is a pass; anything else is not_evaluated (censored).
    """
    best_b, worst_b = _reach(metric, baseline)
    best_c, worst_c = _reach(metric, candidate)
    at_worst = _judge_end(best_b, worst_c, judged_by, Outcome.REGRESSED)
    at_best = _judge_end(worst_b, best_c, judged_by, Outcome.IMPROVED)
    if at_worst is Outcome.REGRESSED and at_best is Outcome.REGRESSED:
        outcome = Outcome.REGRESSED
    elif at_worst in (Outcome.PASS, Outcome.IMPROVED):
        outcome = Outcome.IMPROVED if at_worst is Outcome.IMPROVED else Outcome.PASS
    else:
        return Comparison(outcome=Outcome.NOT_EVALUATED, reason="censored")
    at_bound = judged_by(baseline.value, candidate.value)
    return replace(at_bound, outcome=outcome, reason=None, notes=("bound",), advisory=False)


def is_impossible(metric: Metric, value: Value, zero_tol: float) -> bool:
    """Whether a finite value lies beyond its ideal (accuracy 1.2, a negative error).

    Up to zero_tol beyond the ideal counts as the ideal itself.
    """
    if metric.ideal is None or metric.direction not in (Direction.LOWER, Direction.HIGHER):
        return False
    exponent = exponent_for(value.value, metric.ideal)
    v, ideal = scaled(value.value, exponent), scaled(metric.ideal, exponent)
    past = ideal - v if metric.direction is Direction.LOWER else v - ideal
    opens_back = Bound.AT_LEAST if metric.direction is Direction.LOWER else Bound.AT_MOST
    return value.bound is not opens_back and beyond(past, scaled(zero_tol, exponent), abs(v), abs(ideal))


def _has_ideal(metric: Metric) -> bool:
    return metric.ideal is not None or metric.direction is Direction.TARGET


def _scaled_gap(metric: Metric, x: float, exponent: int) -> float:
    if exponent == 0:
        return gap(metric, x)
    if metric.direction is Direction.TARGET:
        return abs(x - scaled(metric.target or 0.0, exponent))
    ideal = scaled(metric.ideal or 0.0, exponent)
    return ideal - x if metric.direction is Direction.HIGHER else x - ideal


def _is_zero(metric: Metric, baseline: float, zero_tol: float) -> bool:
    # Overflow gives ∞ of the right sign here, which is not zero.
    scale = gap(metric, baseline) if _has_ideal(metric) else abs(baseline)
    return scale <= zero_tol


def _limit(tolerances: Tolerances, scale: float, exponent: int) -> float:
    given = []
    if tolerances.abs_tol is not None:
        given.append(scaled(tolerances.abs_tol, exponent))
    if tolerances.rel_tol is not None:
        given.append(tolerances.rel_tol * scale)
    if not given:
        return 0.0
    return min(given) if tolerances.combine is Combine.ANY else max(given)


def two_standard_errors(baseline: Value, candidate: Value) -> float:
    """Of the difference, in the metric's unit; 0 where they are not known on both sides."""
    a, b = baseline.stderr, candidate.stderr
    if a is None or b is None or not (0 <= a < math.inf and 0 <= b < math.inf):
        return 0.0
    return min(2.0 * math.hypot(a, b), LARGEST)


def _reach(metric: Metric, value: Value) -> tuple[float, float]:
    """The best and the worst the true value can be, never beyond the ideal; ±∞ where nothing bounds it."""
    low = -math.inf if value.bound is Bound.AT_MOST else value.value
    high = math.inf if value.bound is Bound.AT_LEAST else value.value
    if metric.direction is Direction.TARGET:
        aim = metric.target or 0.0
        far = low if abs(low - aim) > abs(high - aim) else high
        return max(low, min(high, aim)), far
    if metric.direction is Direction.HIGHER:
        return (high if metric.ideal is None else min(high, max(metric.ideal, low))), low
    return (low if metric.ideal is None else max(low, min(metric.ideal, high))), high


def _judge_end(baseline: float, candidate: float, judged_by: Judgement, at_infinity: Outcome) -> Outcome:
    if math.isinf(baseline) or math.isinf(candidate):
        return at_infinity
    found = judged_by(baseline, candidate)
    # Better, though noise could explain it: as good as a pass, and no improvement.
    return Outcome.PASS if found.advisory else found.outcome
