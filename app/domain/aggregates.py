"""Aggregates: what the server computes from group values with the suite's weights (RULES.md, *Aggregates*).

A comparison of aggregates is over the groups that both sides have with exact, comparable values; what it
leaves out it names. A run's own n never enters here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.evaluations import OVERALL, Bound, Value
from app.domain.figures import Numbers
from app.domain.metrics import Metric, Pooling
from app.domain.readings import Readings, groups_of
from app.domain.suites import TIER_PREFIX, Comparability, Suite, tiers_of, weights
from app.domain.weighing import Weighing

MACRO = "macro"
TIER_BALANCED = "tier-balanced"
WORST = "worst"
GEOMEAN = "geomean_ratio"


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
        self._weighing_of_pair: dict[tuple[str, str], Weighing] = {}
        self._weighings: dict[tuple[str, tuple[str, ...]], Weighing] = {}
        self._members: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
        self._entering_all: set[str] = set()
        self._groups: dict[str, tuple[str, ...]] = {}
        self._taken: dict[tuple[bool, str, tuple[str, ...]], tuple[list[Value], Numbers]] = {}

    def groups(self, metric: Metric) -> tuple[str, ...]:
        """Every group of the metric: those the suite lists, then those of either side."""
        known = self._groups.get(metric.name)
        if known is None:
            known = self._groups[metric.name] = tuple(self._standing_of(metric))
        return known

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

    def weighing(self, metric: Metric, name: str) -> Weighing:
        """How the groups of that pair weigh, to pool another evaluation's values alike."""
        self.pair(metric, name)
        return self._weighing_of_pair[metric.name, name]

    def numbers(self, metric: Metric, pair: Pair) -> tuple[Numbers, Numbers]:
        """Baseline and candidate of every group that entered a pair both sides have in common."""
        return self._values(self.champion, metric, pair.groups)[1], self._values(
            self.candidate, metric, pair.groups
        )[1]

    def overall(self, metric: Metric) -> Pair:
        """Pooled over all groups, for a metric that pools."""
        return self._pair(metric, OVERALL, self.groups(metric))

    def tier(self, metric: Metric, tier: str) -> Pair:
        """Pooled within the tier, for a metric that pools."""
        return self._pair(metric, f"{TIER_PREFIX}{tier}", self._members_of_tier(metric, tier))

    def tier_balanced(self, metric: Metric) -> Pair:
        """Each tier pooled, then all tiers with the same weight; groups without a tier are left out."""
        return self._pair(metric, TIER_BALANCED, self.groups(metric))

    def macro(self, metric: Metric) -> Pair:
        """The plain mean of the groups, for any metric (a mean of RMSEs is not itself an RMSE)."""
        return self._pair(metric, MACRO, self.groups(metric))

    def _members_of_tier(self, metric: Metric, tier: str) -> tuple[str, ...]:
        groups = self.groups(metric)
        known = self._members.get((groups, tier))
        if known is None:
            known = tuple(group for group in groups if self._tier_of.get(group) == tier)
            self._members[groups, tier] = known
        return known

    def _weighing(self, name: str, groups: tuple[str, ...]) -> Weighing:
        """How the groups weigh in that aggregate; metrics with the same groups share the work."""
        kind = name if name in (MACRO, TIER_BALANCED) else OVERALL
        known = self._weighings.get((kind, groups))
        if known is None:
            shares_for = {MACRO: _equal_shares, TIER_BALANCED: self._balanced_shares}.get(
                kind, self._shares_for
            )
            known = self._weighings[kind, groups] = Weighing(groups, shares_for(groups))
        return known

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

    def _pair(self, metric: Metric, name: str, members: tuple[str, ...]) -> Pair:
        known = self._pairs.get((metric.name, name))
        if known is None:
            known = self._pairs[metric.name, name] = self._computed(metric, name, members)
        return known

    def _computed(self, metric: Metric, name: str, members: tuple[str, ...]) -> Pair:
        standing = self._standing_of(metric)
        left_out = {}
        if metric.name not in self._entering_all:
            left_out = {group: why for group in members if (why := standing[group])}
        entering = tuple(group for group in members if group not in left_out) if left_out else members
        weighing = self._weighing_of_pair[metric.name, name] = self._weighing(name, entering)
        left_out |= dict.fromkeys(weighing.weightless, "no_weight")
        common = bool(entering and self.baseline(metric))
        return Pair(
            baseline=self._pooled(self.champion, metric, name, members, weighing if common else None),
            candidate=self._pooled(self.candidate, metric, name, members, weighing if common else None),
            used=len(members) - len(left_out),
            total=len(members),
            left_out=left_out,
            common=common,
            groups=weighing.groups if common else (),
        )

    def _pooled(
        self,
        side: Readings | None,
        metric: Metric,
        name: str,
        members: tuple[str, ...],
        common: Weighing | None,
    ) -> Value | None:
        """One side of a pair: over the groups in common, else over whatever exact values it has."""
        if side is None:
            return None
        of_side = side.of(metric)
        if common is None:
            exact = (group for group in members if group in of_side and of_side[group].bound is Bound.EXACT)
            common = self._weighing(name, tuple(exact))
        values, numbers = self._values(side, metric, common.groups)
        return common.pool(values, _pooling(metric, name), numbers)

    def _values(
        self, side: Readings | None, metric: Metric, groups: tuple[str, ...]
    ) -> tuple[list[Value], Numbers]:
        """One side's values of groups that it has; overall, macro and balanced tiers mostly have the same."""
        key = (side is self.candidate, metric.name, groups)
        known = self._taken.get(key)
        if known is None:
            of_side = {} if side is None else side.of(metric)
            values = [of_side[group] for group in groups]
            numbers = np.array([value.value for value in values], dtype=np.float64)
            known = self._taken[key] = values, numbers
        return known

    def _standing_of(self, metric: Metric) -> Mapping[str, str | None]:
        """Why each group of the metric does not enter its aggregates, None where it does."""
        known = self._standing.get(metric.name)
        if known is None:
            sides = (self.candidate,) if self.champion is None else (self.candidate, self.champion)
            groups = groups_of(self.suite, metric, *sides)
            if self._all_enter(metric, groups):
                known = dict.fromkeys(groups)
                self._entering_all.add(metric.name)
            else:
                known = {group: self._why_not(metric, group) for group in groups}
            self._standing[metric.name] = known
        return known

    def _all_enter(self, metric: Metric, groups: Sequence[str]) -> bool:
        """Whether every group has exact values on both sides that compare: the common case, found quickly."""
        if self._comparability is not None and not self._comparability.is_total:
            return False
        sides = [self.candidate.of(metric), self.baseline(metric)]
        return all(
            all(map(side.__contains__, groups))
            and [value.bound for value in side.values()].count(Bound.EXACT) == len(side)
            for side in (sides if sides[1] else sides[:1])
        )

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
