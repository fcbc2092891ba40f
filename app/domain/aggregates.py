"""Aggregates: what the server computes from group values with the suite's weights (RULES.md, *Aggregates*).

A comparison of aggregates is over the groups that both sides have with exact, comparable values; what it
leaves out it names. A run's own n never enters here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.evaluations import OVERALL, Bound, Value
from app.domain.metrics import Metric, Pooling
from app.domain.readings import Readings, groups_of
from app.domain.scaling import LARGEST, exponent_for, scaled, total, unscaled
from app.domain.suites import TIER_PREFIX, Comparability, Suite, tiers_of, weights

MACRO = "macro"
TIER_BALANCED = "tier-balanced"
WORST = "worst"
GEOMEAN = "geomean_ratio"

SharesFor: TypeAlias = Callable[[Sequence[str]], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One aggregate on both sides, over the same groups wherever there are any in common.

    Args:
        baseline, candidate: None where that side has nothing to aggregate.
        used, total: How many groups entered, and how many the suite or either side has.
        left_out: Why the others did not.
        common: Whether both values are over the same groups.
        groups: Which ones, where they are; those without a weight are not among them.
    """

    baseline: Value | None
    candidate: Value | None
    used: int
    total: int
    left_out: Mapping[str, str]
    common: bool
    groups: tuple[str, ...] = ()


def pooled(values: Iterable[Value], shares: Mapping[str, float], pooling: Pooling) -> Value | None:
    """The weighted mean (or root of the weighted mean of squares); None when no group has a weight.

    n and stderr of the whole are known when every group's are (groups are independent samples).

    Args:
        shares: Weight by group, in any unit; a group without one is left out.
    """
    members = [(shares[value.group], value) for value in values if shares.get(value.group, 0.0) > 0.0]
    if not members:
        return None
    number = weighted_mean(
        [(weight, value.value) for weight, value in members], squares=pooling is Pooling.RMS
    )
    counts = [value.n for _, value in members]
    return Value(
        metric=members[0][1].metric,
        group=OVERALL,
        value=number,
        n=sum(n for n in counts if n is not None) if None not in counts else None,
        stderr=_pooled_stderr(members, number, pooling),
    )


def weighted_mean(terms: list[tuple[float, float]], *, squares: bool = False) -> float:
    """Σ weight·x / Σ weight, or √(Σ weight·x² / Σ weight); the same in any order, finite for finite numbers.

    NaN and ±∞ pass through: a mean with a NaN in it is NaN.
    """
    numbers = [x for _, x in terms]
    if not all(map(math.isfinite, numbers)):
        return total(abs(x) for x in numbers) if squares else total(numbers)
    heaviest = max(weight for weight, _ in terms)
    exponent = exponent_for(*numbers)
    parts = [(weight / heaviest, scaled(x, exponent)) for weight, x in terms]
    whole = math.fsum(weight for weight, _ in parts)
    if squares:
        return unscaled(math.sqrt(math.fsum(weight * x * x for weight, x in parts) / whole), exponent)
    return unscaled(math.fsum(weight * x for weight, x in parts) / whole, exponent)


def _pooled_stderr(members: list[tuple[float, Value]], number: float, pooling: Pooling) -> float | None:
    whole = math.fsum(weight for weight, _ in members)
    terms = []
    for weight, value in members:
        if value.stderr is None or not math.isfinite(value.stderr) or not math.isfinite(number):
            return None
        # ∂√(Σ w·x²) / ∂x = w·x / √(Σ w·x²)
        slope = 1.0 if pooling is not Pooling.RMS else (value.value / number if number else 1.0)
        terms.append(weight / whole * slope * value.stderr)
    return min(math.hypot(*sorted(terms)), LARGEST)


class Pools:
    """The aggregates of one suite's metrics for a candidate and, where there is one, its champion."""

    def __init__(
        self,
        suite: Suite,
        candidate: Readings,
        champion: Readings | None,
        comparability: Comparability | None,
    ) -> None:
        self.suite = suite
        self.candidate = candidate
        self.champion = champion
        self.tiers = tiers_of(suite)
        self._comparability = comparability
        self._shares = weights(suite)
        self._tier_of = {group.name: group.tier for group in suite.groups}
        self._standing: dict[str, Mapping[str, str | None]] = {}
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._shares_of_pair: dict[tuple[str, str], Mapping[str, float]] = {}

    def groups(self, metric: Metric) -> tuple[str, ...]:
        """Every group of the metric: those the suite lists, then those of either side."""
        return tuple(self._standing_of(metric))

    def differing(self, metric: Metric, group: str) -> tuple[str, ...]:
        return () if self._comparability is None else self._comparability.fields(metric.name, group)

    def tier_of(self, group: str) -> str | None:
        return self._tier_of.get(group)

    def baseline(self, metric: Metric) -> Mapping[str, Value]:
        """The champion's value by group; {} without a champion."""
        return {} if self.champion is None else self.champion.of(metric)

    def pair(self, metric: Metric, name: str) -> Pair:
        """The aggregate of that name: `overall`, `tier:<tier>`, `tier-balanced` or `macro`."""
        if name == OVERALL:
            return self.overall(metric)
        if name == MACRO:
            return self.macro(metric)
        if name == TIER_BALANCED:
            return self.tier_balanced(metric)
        return self.tier(metric, name.removeprefix(TIER_PREFIX))

    def pooled_alike(self, metric: Metric, name: str, values: Sequence[Value]) -> Value | None:
        """That aggregate of another evaluation, from its values in the pair's groups."""
        self.pair(metric, name)
        return pooled(values, self._shares_of_pair[metric.name, name], _pooling(metric, name))

    def overall(self, metric: Metric) -> Pair:
        """Pooled over all groups, for a metric that pools."""
        return self._pair(metric, OVERALL, self.groups(metric), self._shares_for)

    def tier(self, metric: Metric, tier: str) -> Pair:
        """Pooled within the tier, for a metric that pools."""
        members = [group for group in self.groups(metric) if self._tier_of.get(group) == tier]
        return self._pair(metric, f"{TIER_PREFIX}{tier}", members, self._shares_for)

    def tier_balanced(self, metric: Metric) -> Pair:
        """Each tier pooled, then all tiers with the same weight; groups without a tier are left out."""
        return self._pair(metric, TIER_BALANCED, self.groups(metric), self._balanced_shares)

    def macro(self, metric: Metric) -> Pair:
        """The plain mean of the groups, for any metric (a mean of RMSEs is not itself an RMSE)."""
        return self._pair(metric, MACRO, self.groups(metric), _equal_shares)

    def _shares_for(self, groups: Sequence[str]) -> Mapping[str, float]:
        return self._shares or _equal_shares(groups)

    def _balanced_shares(self, groups: Sequence[str]) -> Mapping[str, float]:
        plain = self._shares_for(groups)
        weight_of_tier: dict[str, float] = {}
        for group in groups:
            if tier := self.tier_of(group):
                weight_of_tier[tier] = weight_of_tier.get(tier, 0.0) + plain.get(group, 0.0)
        return {
            group: plain[group] / weight_of_tier[tier]
            for group in groups
            if (tier := self.tier_of(group)) and plain.get(group, 0.0) > 0.0
        }

    def _pair(self, metric: Metric, name: str, members: Sequence[str], shares_for: SharesFor) -> Pair:
        known = self._pairs.get((metric.name, name))
        if known is None:
            known = self._computed(metric, name, members, shares_for)
            self._pairs[metric.name, name] = known
        return known

    def _computed(self, metric: Metric, name: str, members: Sequence[str], shares_for: SharesFor) -> Pair:
        pooling = _pooling(metric, name)
        ours, theirs = self.candidate.of(metric), self.baseline(metric)
        standing = self._standing_of(metric)
        entering = [group for group in members if standing[group] is None]
        shares = self._shares_of_pair[metric.name, name] = shares_for(entering)
        left_out = {group: why for group in members if (why := standing[group])}
        left_out |= {group: "no_weight" for group in entering if shares.get(group, 0.0) <= 0.0}
        if entering and theirs:
            baseline = pooled((theirs[group] for group in entering), shares, pooling)
            candidate = pooled((ours[group] for group in entering), shares, pooling)
        else:
            baseline = _pool_one_side(theirs, members, shares_for, pooling)
            candidate = _pool_one_side(ours, members, shares_for, pooling)
        return Pair(
            baseline=baseline,
            candidate=candidate,
            used=len(members) - len(left_out),
            total=len(members),
            left_out=left_out,
            common=bool(entering and theirs),
            groups=tuple(group for group in entering if group not in left_out) if theirs else (),
        )

    def _standing_of(self, metric: Metric) -> Mapping[str, str | None]:
        """Why each group of the metric does not enter its aggregates, None where it does."""
        known = self._standing.get(metric.name)
        if known is None:
            sides = (self.candidate,) if self.champion is None else (self.candidate, self.champion)
            known = {group: self._why_not(metric, group) for group in groups_of(self.suite, metric, *sides)}
            self._standing[metric.name] = known
        return known

    def _why_not(self, metric: Metric, group: str) -> str | None:
        ours = self.candidate.of(metric).get(group)
        if ours is None:
            return "missing_group"
        if ours.bound is not Bound.EXACT:
            return "censored"
        baseline = self.baseline(metric)
        if not baseline:
            return None
        theirs = baseline.get(group)
        if theirs is None:
            return "no_baseline_value"
        if theirs.bound is not Bound.EXACT:
            return "censored"
        return "incomparable" if self.differing(metric, group) else None


def _pooling(metric: Metric, name: str) -> Pooling:
    return Pooling.MEAN if name == MACRO else metric.pooling


def _equal_shares(groups: Sequence[str]) -> Mapping[str, float]:
    return dict.fromkeys(groups, 1.0)


def _pool_one_side(
    values: Mapping[str, Value],
    members: Sequence[str],
    shares_for: SharesFor,
    pooling: Pooling,
) -> Value | None:
    exact = [values[group] for group in members if group in values and values[group].bound is Bound.EXACT]
    return pooled(exact, shares_for([value.group for value in exact]), pooling)
