"""A candidate against one champion, present or past: what stands on both sides of each cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from app.domain.aggregates import MACRO, Pair, Pools
from app.domain.cells import Cell, seeds_known, unusable
from app.domain.evaluations import OVERALL, Bound, Value
from app.domain.figures import differing_in, figures_of
from app.domain.kin import Champion, Kin, Sibling, sides_of
from app.domain.lineup import Lineup, checks_of, lineup_of
from app.domain.metrics import Metric, Pooling
from app.domain.outcomes import Check, Json
from app.domain.policy import Policy
from app.domain.readings import Readings, readings_of
from app.domain.suites import TIER_PREFIX, Comparability, Suite
from app.domain.tolerances import Terms, Tolerances


class Bout:
    """Both sides of one comparison, looked through once."""

    def __init__(
        self,
        suite: Suite,
        ours: Readings,
        siblings: Iterable[Sibling],
        champion: Champion | None,
        policy: Policy,
    ) -> None:
        self._policy = policy
        self._plain = Terms(tolerances=Tolerances(min_seeds=policy.min_seeds), required=False)
        self.champion = champion
        self.ours = ours
        self.theirs: Readings | None = None
        comparability = None
        self._dropped: frozenset[str] = frozenset()
        self._our_kin = self._their_kin = Kin(suite, (), policy)
        self._same_recipe = False
        if champion is not None:
            self.theirs = readings_of(champion.suite, champion.evaluation)
            comparability = Comparability(champion.suite, suite)
            self._dropped = _dropped_groups(champion.suite, suite)
            sides = sides_of(ours.evaluation, siblings, champion)
            self._same_recipe = sides.same_recipe
            self._their_kin = Kin(suite, sides.champion, policy)
            self._our_kin = Kin(suite, sides.candidate, policy)
        self._comparability = comparability
        self.pools = Pools(suite, ours, self.theirs, comparability)

    def group_checks(
        self, metric: Metric, groups: Sequence[str], terms: Sequence[Terms]
    ) -> list[Check | None]:
        """The checks of many groups at once; None where only the rule can say (`regression_check`)."""
        found: list[Check | None] = [None] * len(groups)
        lineup = self.lineup(metric, groups)
        if lineup is None:
            return found
        distinct = list({id(each): each for each in terms}.values())
        if len(distinct) == 1:
            every = np.ones(len(groups), dtype=np.bool_)
            return checks_of(metric, groups, distinct[0], lineup, every, same_recipe=self._same_recipe)
        for those in distinct:
            which = np.array([each is those for each in terms], dtype=np.bool_)
            checks = checks_of(metric, groups, those, lineup, which, same_recipe=self._same_recipe)
            found = [check or known for check, known in zip(checks, found, strict=True)]
        return found

    def lineup(self, metric: Metric, groups: Sequence[str]) -> Lineup | None:
        """What stands on both sides of many groups; None without a champion."""
        if self.theirs is None or self._comparability is None:
            return None
        theirs = figures_of(metric, self.theirs.of(metric), groups, self._policy)
        ours = figures_of(metric, self.ours.of(metric), groups, self._policy)
        crowds = None
        if self._their_kin:
            crowds = (
                self._their_kin.crowd(metric, groups, theirs),
                self._our_kin.crowd(metric, groups, ours),
            )
        differing = differing_in(self._comparability, metric, groups)
        return lineup_of(metric, theirs, ours, differing, crowds, self._policy.min_seeds)

    def group_cell(self, metric: Metric, group: str, terms: Terms) -> Cell:
        candidate = self.ours.of(metric).get(group)
        baseline = self.pools.baseline(metric).get(group)
        differing = self.pools.differing(metric, group) if baseline is not None else ()
        if candidate is None and group in self._dropped:
            terms, differing = Terms(tolerances=terms.tolerances, required=False), ("groups",)
        return Cell(
            metric=metric,
            group=group,
            baseline=baseline,
            candidate=candidate,
            has_champion=self.theirs is not None,
            terms=terms,
            missing=self._missing(metric, group),
            differing=differing,
            baseline_siblings=self._their_kin.in_group(metric, group) if self._their_kin else (),
            candidate_siblings=self._our_kin.in_group(metric, group) if self._our_kin else (),
            same_recipe=self._same_recipe,
        )

    def tier_cell(self, metric: Metric, tier: str, terms: Terms) -> Cell:
        """A tier's aggregate, of a metric that pools."""
        return self._aggregate_cell(metric, f"{TIER_PREFIX}{tier}", terms)

    def macro_cell(self, metric: Metric, terms: Terms) -> Cell | None:
        """The plain mean of the groups both sides have; None where that has no usable value."""
        pair = self.pools.macro(metric)
        if not pair.common or self._has_unusable(metric, pair.baseline, pair.candidate):
            return None
        return self._aggregate_cell(metric, MACRO, terms)

    def overall_cell(self, metric: Metric, terms: Terms) -> Cell | None:
        """Pooled on a side that has groups of a metric that pools, else the measured or stated whole.

        A metric that does not pool has no overall check where neither side states one, and nothing is held
        up.
        """
        pools = metric.pooling is not Pooling.NONE
        ours, theirs = pools and bool(self.ours.of(metric)), pools and bool(self.pools.baseline(metric))
        if ours and theirs:
            return self._aggregate_cell(metric, OVERALL, terms)
        pair = self.pools.overall(metric)
        candidate = pair.candidate if ours else self.ours.whole.get(metric.name)
        baseline = (
            pair.baseline if theirs else None if self.theirs is None else self.theirs.whole.get(metric.name)
        )
        if candidate is None and baseline is None and self.pools.groups(metric):
            return None
        differing = () if baseline is None else self.pools.differing(metric, OVERALL)
        if candidate is not None and baseline is not None and ours != theirs:
            # Nobody knows what a whole without groups is made of.
            differing = (*differing, "groups")
        return Cell(
            metric=metric,
            group=OVERALL,
            baseline=baseline,
            candidate=candidate,
            has_champion=self.theirs is not None,
            terms=terms,
            missing="missing_metric",
            differing=differing,
            baseline_siblings=self._their_kin.in_whole(metric),
            candidate_siblings=self._our_kin.in_whole(metric),
            same_recipe=self._same_recipe,
        )

    def pair(self, metric: Metric, name: str) -> Pair:
        """An aggregate on both sides: of the seeds where the champion's are known, else of the two alone."""
        pair = self.pools.pair(metric, name)
        if not self._their_kin or not pair.common:
            return pair
        return self._of_seeds(pair, self._aggregate_cell(metric, name, self._plain))

    def whole_pair(self, metric: Metric) -> Pair:
        """The measured or stated whole on both sides, likewise; the candidate has one."""
        ours = self.ours.whole[metric.name]
        theirs = None if self.theirs is None else self.theirs.whole.get(metric.name)
        exact = theirs is not None and ours.bound is theirs.bound is Bound.EXACT
        comparable = exact and not self.pools.differing(metric, OVERALL)
        pair = Pair(baseline=theirs, candidate=ours, used=0, total=0, left_out={}, common=comparable)
        cell = self.overall_cell(metric, self._plain) if self._their_kin and comparable else None
        return pair if cell is None else self._of_seeds(pair, cell)

    def _of_seeds(self, pair: Pair, cell: Cell) -> Pair:
        if self._has_unusable(cell.metric, cell.baseline, cell.candidate):
            return pair
        known = seeds_known(cell)
        if known is None or pair.baseline is None or pair.candidate is None:
            return pair
        theirs, ours = known
        return replace(
            pair,
            baseline=replace(pair.baseline, value=theirs.mean),
            candidate=pair.candidate if ours is None else replace(pair.candidate, value=ours.mean),
        )

    def _has_unusable(self, metric: Metric, *sides: Value | None) -> bool:
        return any(side is None or unusable(metric, side, self._policy.zero_tol) for side in sides)

    def _missing(self, metric: Metric, group: str) -> str:
        """A missing metric where the metric has no value at all or the group has others."""
        return "missing_metric" if not self.ours.has(metric) or group in self.ours.groups else "missing_group"

    def _aggregate_cell(self, metric: Metric, name: str, terms: Terms) -> Cell:
        """A pooled aggregate over the groups both sides have, and how many those are."""
        pair = self.pools.pair(metric, name)
        left_out: dict[str, Json] = dict(pair.left_out)
        differing = () if pair.baseline is None else self._differing_pair(metric, name, pair)
        return Cell(
            metric=metric,
            group=name,
            baseline=pair.baseline,
            candidate=pair.candidate,
            has_champion=self.theirs is not None,
            terms=terms,
            missing="missing_group" if self.ours.has(metric) else "missing_metric",
            differing=differing,
            baseline_siblings=self._pooled(self._their_kin, metric, name, pair),
            candidate_siblings=self._pooled(self._our_kin, metric, name, pair),
            same_recipe=self._same_recipe,
            only_bounds=not pair.common
            and self.theirs is not None
            and "censored" in pair.left_out.values()
            and not differing,
            detail={"groups_used": pair.used, "groups_total": pair.total, "left_out": left_out},
        )

    def _pooled(self, kin: Kin, metric: Metric, name: str, pair: Pair) -> tuple[float, ...]:
        if not kin or not pair.groups:
            return ()
        return kin.in_aggregate(metric, name, self.pools.groups(metric), self.pools.weighing(metric, name))

    def _differing_pair(self, metric: Metric, name: str, pair: Pair) -> tuple[str, ...]:
        differing = self.pools.differing(metric, name)
        if differing or pair.common or pair.candidate is None or "censored" in pair.left_out.values():
            return differing
        changed = (self.pools.differing(metric, group) for group in pair.left_out)
        return next((fields for fields in changed if fields), ("groups",))


def _dropped_groups(old: Suite, new: Suite) -> frozenset[str]:
    """Groups that the champion's suite listed and this version no longer does: they are not asked for any more."""
    listed = frozenset(group.name for group in new.groups)
    return frozenset(group.name for group in old.groups) - listed if listed else frozenset()
