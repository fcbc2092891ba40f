"""When seeds are known: what the spread between runs of one recipe says of a change (RULES.md, *Noise*).

m, s   mean and sample deviation of the n seeds of the champion's recipe, as distances to perfection
hi     m + t(confidence, n−1) · s · √(1/k + 1/n)        k seeds of the candidate's recipe, judged by their mean

                      beyond hi                          within hi
worse than limit      regressed                          inconclusive
worse than limit / 2  regressed                          pass
less                  pass, note small_but_real          pass

Improved is mirrored, with improve_tol for the limit: a gain beyond it that noise could explain is
inconclusive too, but advisory, since nothing may hold up a candidate for looking better.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from scipy.special import nctdtrinc, stdtrit

from app.domain.comparison import Comparison, Difference, compare_bounds, difference, judge
from app.domain.evaluations import Bound, Value
from app.domain.metrics import Direction, Metric, reference
from app.domain.outcomes import Json, Outcome
from app.domain.scaling import LARGEST, SLACK, clamped, exponent_for, ratio, scaled, unscaled
from app.domain.tolerances import Tolerances

# The power of the minimum detectable effect.
POWER = 0.8
# More seeds than this are no advice.
MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """What the runs of one recipe measured in one cell.

    Args:
        count: How many runs.
        mean: Of their values, in the metric's unit; for a target the value at their mean distance from it, so
            that runs on either side of the target do not make a perfect mean.
        deviation: Sample deviation of their distances to perfection, in the metric's unit; 0 where there is no
            spread beyond the slack of every comparison.
    """

    count: int
    mean: float
    deviation: float


def seeds_of(metric: Metric, values: Sequence[float]) -> Seeds:
    """One or more finite values; the same in any order."""
    aim = (metric.target or 0.0) if metric.direction is Direction.TARGET else None
    exponent = exponent_for(*values, reference(metric))
    # + 0.0 makes one zero of two.
    numbers = sorted(scaled(value, exponent) + 0.0 for value in values)
    if len(numbers) == 1:
        return Seeds(count=1, mean=values[0], deviation=0.0)
    size = max(abs(numbers[0]), abs(numbers[-1]))
    if aim is None:
        mean, deviation = _mean_and_deviation(numbers)
    else:
        center = scaled(aim, exponent)
        distance, deviation = _mean_and_deviation(sorted(abs(x - center) for x in numbers))
        mean = center + math.copysign(distance, _mean_and_deviation(numbers)[0] - center)
    if deviation <= SLACK * size:
        deviation = 0.0
    return Seeds(count=len(numbers), mean=unscaled(mean, exponent), deviation=unscaled(deviation, exponent))


def _mean_and_deviation(ascending: Sequence[float]) -> tuple[float, float]:
    """Sums from the smallest up, measured from it: the same in any order, exact for equal numbers."""
    low, count = ascending[0], len(ascending)
    above = 0.0
    for x in ascending:
        above += x - low
    mean = low + above / count
    squares = 0.0
    for x in ascending:
        squares += (x - mean) * (x - mean)
    return mean, math.sqrt(squares / (count - 1))


@lru_cache(maxsize=4096)
def t_quantile(confidence: float, degrees: int) -> float:
    """Student's t, one-sided; cached, since a verdict asks for the same few over and over."""
    return float(stdtrit(degrees, confidence))


@lru_cache(maxsize=4096)
def noncentrality(confidence: float, degrees: int) -> float:
    """How many standard errors an effect needs to leave the interval with the power of POWER."""
    return float(nctdtrinc(degrees, 1.0 - POWER, t_quantile(confidence, degrees)))


def spread_of_difference(confidence: float, n: int, k: int) -> float:
    """t(confidence, n−1) · √(1/k + 1/n): times s, how far the mean of k seeds strays from the mean of n."""
    return t_quantile(confidence, n - 1) * math.sqrt(1.0 / k + 1.0 / n)


def compare_seeds(
    metric: Metric, baseline: Seeds, candidate: Seeds | Value, tolerances: Tolerances, *, same_recipe: bool
) -> Comparison:
    """Compare a candidate's seeds (or its one value, known only as a bound) with two or more of the champion's.

    Args:
        same_recipe: Whether the candidate is itself a seed of the champion's recipe; more of them then
            tell more about the champion's spread, never about this candidate.
    """
    if isinstance(candidate, Seeds):
        return judge_seeds(metric, baseline, candidate, tolerances, same_recipe=same_recipe)

    def judged_at(mean: float, value: float) -> Comparison:
        theirs, ours = replace(baseline, mean=mean), Seeds(count=1, mean=value, deviation=0.0)
        return judge_seeds(metric, theirs, ours, tolerances, same_recipe=same_recipe)

    exact = Value(metric=metric.name, group=candidate.group, value=baseline.mean, bound=Bound.EXACT)
    return compare_bounds(metric, exact, candidate, judged_at)


def judge_seeds(
    metric: Metric, baseline: Seeds, candidate: Seeds, tolerances: Tolerances, *, same_recipe: bool = False
) -> Comparison:
    """The table above for two means."""
    n, k = baseline.count, candidate.count
    half = min(baseline.deviation * spread_of_difference(tolerances.confidence, n, k), LARGEST)
    detail: dict[str, Json] = {"seeds": evidence(metric, n, k, baseline.mean, baseline.deviation, half)}
    if baseline.deviation == 0.0:
        by_effect = judge(metric, baseline.mean, candidate.mean, tolerances)
        return replace(by_effect, notes=(*by_effect.notes, "no_spread"), detail=detail)
    found = difference(metric, baseline.mean, candidate.mean, tolerances)
    if found.is_undecidable:
        return Comparison(outcome=Outcome.NOT_EVALUATED, reason="zero_baseline", detail=detail)
    outcome, notes = _by_table(found, scaled(half, found.exponent))
    looks_better = outcome is Outcome.INCONCLUSIVE and found.worse < 0.0
    if looks_better:
        notes = (*notes, "looks_better")
    if same_recipe:
        notes = (*notes, "same_recipe")
    if outcome is Outcome.INCONCLUSIVE:
        detail |= _advice(found, baseline, k, tolerances.confidence, same_recipe=same_recipe)
    return Comparison(
        outcome=outcome,
        reason="seed_noise" if outcome is Outcome.INCONCLUSIVE else None,
        notes=notes,
        worsening=found.worsening,
        limit=found.limit_in_unit,
        advisory=looks_better,
        detail=detail,
    )


def _by_table(found: Difference, half: float) -> tuple[Outcome, tuple[str, ...]]:
    """The outcome for a noise of ± half, in the units of the difference, and its note."""
    worse_than_noise, better_than_noise = found.is_worse_than(half), found.is_better_than(half)
    if found.is_worse_than(found.limit):
        return (Outcome.REGRESSED if worse_than_noise else Outcome.INCONCLUSIVE), ()
    if found.is_worse_than(found.limit / 2.0) and worse_than_noise:
        return Outcome.REGRESSED, ()
    if found.is_better_than(found.improvement):
        return (Outcome.IMPROVED if better_than_noise else Outcome.INCONCLUSIVE), ()
    if found.is_better_than(found.improvement / 2.0) and better_than_noise:
        return Outcome.IMPROVED, ()
    return Outcome.PASS, ("small_but_real",) if worse_than_noise or better_than_noise else ()


def evidence(metric: Metric, n: int, k: int, mean: float, deviation: float, half: float) -> dict[str, Json]:
    """How many seeds, their mean and spread, and the value from which on a change is more than noise."""
    if metric.direction is Direction.TARGET:
        outward = math.copysign(1.0, mean - (metric.target or 0.0))
    else:
        outward = -1.0 if metric.direction is Direction.HIGHER else 1.0
    return {
        "baseline": n,
        "candidate": k,
        "mean": mean,
        "deviation": deviation,
        "hi": clamped(mean + outward * half),
    }


def _advice(
    found: Difference, baseline: Seeds, k: int, confidence: float, *, same_recipe: bool
) -> dict[str, Json]:
    """What it would take to decide, from the spread as it is known so far.

    minimum_detectable_effect: the relative worsening that n and k seeds find to be more than noise with a
        power of 0.8: δ · s · √(1/k + 1/n) / scale, δ being the noncentrality at which Student's t with n−1
        degrees exceeds t(confidence, n−1) four times in five; None on a zero baseline.
    seeds_to_add: the fewest more runs of the candidate's recipe with which the change seen now would leave
        the noise, half-width < |worse|; None where no number does (up to 1,000), since 1/n stays.
    seeds_to_add_each: then the fewest more runs of both recipes; None where even those are too many.
    """
    n = baseline.count
    deviation = scaled(baseline.deviation, found.exponent)
    effect = abs(found.worse)
    detectable = noncentrality(confidence, n - 1) * math.sqrt(1.0 / k + 1.0 / n)
    share = None if found.worsening is None else ratio(detectable * deviation, found.scale)

    def decides(n: int, k: int) -> bool:
        return deviation * spread_of_difference(confidence, n, k) < effect

    add = None if same_recipe else _fewest(lambda more: decides(n, k + more))
    each = None if same_recipe or add is not None else _fewest(lambda more: decides(n + more, k + more))
    return {"minimum_detectable_effect": share, "seeds_to_add": add, "seeds_to_add_each": each}


def _fewest(decides: Callable[[int], bool]) -> int | None:
    """The smallest number from 1 to MOST_SEEDS that decides; what decides does so for every larger one."""
    if not decides(MOST_SEEDS):
        return None
    return 1 + bisect_left(range(1, MOST_SEEDS), True, key=decides)
