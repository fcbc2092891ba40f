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
from dataclasses import dataclass, replace

from app.domain.evaluations import Bound, Value
from app.domain.metrics import Direction, Metric, gap, reference
from app.domain.outcomes import Outcome
from app.domain.policy import Combine
from app.domain.scaling import LARGEST, beyond, exponent_for, ratio, scaled, unscaled
from app.domain.tolerances import Tolerances

__all__ = ["Comparison", "beyond", "compare", "gap", "is_impossible", "judge", "worsening"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outcome of comparing two numbers; fields as in Check."""

    outcome: Outcome
    reason: str | None = None
    notes: tuple[str, ...] = ()
    worsening: float | None = None
    limit: float | None = None


def judge(
    metric: Metric, baseline: float, candidate: float, tolerances: Tolerances, noise: float = 0.0
) -> Comparison:
    """Compare two finite numbers.

    Args:
        noise: Two standard errors of the difference, in the metric's unit; a regression must exceed it too,
            else it is inconclusive (small_sample). 0 where no standard error is known.
    """
    exponent = exponent_for(baseline, candidate, reference(metric))
    b, c = scaled(baseline, exponent), scaled(candidate, exponent)
    gap_b, gap_c = _scaled_gap(metric, b, exponent), _scaled_gap(metric, c, exponent)
    worse = gap_c - gap_b
    scale = gap_b if _has_ideal(metric) else abs(b)
    size = max(abs(b), abs(c))
    improvement = max(tolerances.improve_tol * scale, 0.0)
    if _is_zero(metric, baseline, tolerances.zero_tol):
        return _judge_on_zero(worse, size, improvement, tolerances, exponent, noise)
    limit = _limit(tolerances, scale, exponent)
    return Comparison(
        outcome=_outcome(worse, limit, improvement, size, noise, exponent),
        reason=_small_sample(worse, limit, size, noise, exponent),
        worsening=ratio(worse, scale),
        limit=unscaled(limit, exponent),
    )


def worsening(metric: Metric, baseline: float, candidate: float, zero_tol: float = 1e-12) -> float | None:
    """Relative change of two finite numbers, positive = worse; None on a zero baseline."""
    if _is_zero(metric, baseline, zero_tol):
        return None
    return judge(metric, baseline, candidate, Tolerances(zero_tol=zero_tol)).worsening


def compare(metric: Metric, baseline: Value, candidate: Value, tolerances: Tolerances) -> Comparison:
    """Compare two finite values, either of which may be only a bound.

    A bound decides where the outcome is the same whatever the true value: at its worst and at its best. Pass
    at worst and improved at best is a pass; anything else is not_evaluated (censored).
    """
    if baseline.bound is Bound.EXACT and candidate.bound is Bound.EXACT:
        return judge(
            metric, baseline.value, candidate.value, tolerances, _two_standard_errors(baseline, candidate)
        )
    best_b, worst_b = _reach(metric, baseline)
    best_c, worst_c = _reach(metric, candidate)
    at_worst = _judge_end(metric, best_b, worst_c, tolerances, Outcome.REGRESSED)
    at_best = _judge_end(metric, worst_b, best_c, tolerances, Outcome.IMPROVED)
    if at_worst is Outcome.REGRESSED and at_best is Outcome.REGRESSED:
        outcome = Outcome.REGRESSED
    elif at_worst in (Outcome.PASS, Outcome.IMPROVED):
        outcome = Outcome.IMPROVED if at_worst is Outcome.IMPROVED else Outcome.PASS
    else:
        return Comparison(outcome=Outcome.NOT_EVALUATED, reason="censored")
    at_bound = judge(metric, baseline.value, candidate.value, tolerances)
    return replace(at_bound, outcome=outcome, reason=None, notes=("bound",))


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


def _small_sample(worse: float, limit: float, size: float, noise: float, exponent: int) -> str | None:
    return "small_sample" if beyond(worse, limit, size) and not worse > scaled(noise, exponent) else None


def _outcome(
    worse: float, limit: float, improvement: float, size: float, noise: float, exponent: int
) -> Outcome:
    if beyond(worse, limit, size):
        return Outcome.REGRESSED if worse > scaled(noise, exponent) else Outcome.INCONCLUSIVE
    return Outcome.IMPROVED if beyond(-worse, improvement, size) else Outcome.PASS


def _judge_on_zero(
    worse: float, size: float, improvement: float, tolerances: Tolerances, exponent: int, noise: float
) -> Comparison:
    """Scale ≤ zero_tol: no share of it can be taken, so only abs_tol tells how much is too much."""
    if not beyond(worse, 0.0, size):
        outcome = Outcome.IMPROVED if beyond(-worse, improvement, size) else Outcome.PASS
        return Comparison(outcome=outcome, limit=tolerances.abs_tol)
    if tolerances.abs_tol is None:
        return Comparison(outcome=Outcome.NOT_EVALUATED, reason="zero_baseline")
    limit = scaled(tolerances.abs_tol, exponent)
    return Comparison(
        outcome=_outcome(worse, limit, improvement, size, noise, exponent),
        reason=_small_sample(worse, limit, size, noise, exponent),
        limit=tolerances.abs_tol,
    )


def _two_standard_errors(baseline: Value, candidate: Value) -> float:
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


def _judge_end(
    metric: Metric, baseline: float, candidate: float, tolerances: Tolerances, at_infinity: Outcome
) -> Outcome:
    if math.isinf(baseline) or math.isinf(candidate):
        return at_infinity
    return judge(metric, baseline, candidate, tolerances).outcome
