"""Every regression check of an evaluation: which cells there are, and what stands on both sides of each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.domain.aggregates import GEOMEAN, MACRO, Pair, Pools
from app.domain.cells import Cell, regression_check, unusable
from app.domain.columns import aggregate_columns
from app.domain.comparison import compare, worsening
from app.domain.evaluations import OVERALL, Evaluation
from app.domain.gate import OPENING, is_judged
from app.domain.metrics import Metric, Pooling, Role
from app.domain.outcomes import Aggregate, Check, Json, Outcome, Rule
from app.domain.policy import Policy
from app.domain.readings import Readings, readings_of
from app.domain.suites import TIER_PREFIX, Comparability, Suite, is_reserved
from app.domain.tolerances import Terms, TermsBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """Another run of the same recipe, by its latest candidate evaluation on the same suite and stage."""

    evaluation: Evaluation
    suite: Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """A baseline, present or past: an evaluation and the suite version it was made on.

    Args:
        siblings: The other valid runs of its recipe, without itself, sorted by evaluation id.
    """

    evaluation: Evaluation
    suite: Suite
    siblings: tuple[Sibling, ...] = ()


class Judge:
    """Both sides of one assessment, looked through once."""

    def __init__(
        self, suite: Suite, candidate: Evaluation, champion: Champion | None, policy: Policy
    ) -> None:
        self.suite, self.policy = suite, policy
        self.ours = readings_of(suite, candidate)
        self.theirs: Readings | None = None
        comparability = None
        self._dropped: frozenset[str] = frozenset()
        if champion is not None:
            self.theirs = readings_of(champion.suite, champion.evaluation)
            comparability = Comparability(champion.suite, suite)
            self._dropped = _dropped_groups(champion.suite, suite)
        self.pools = Pools(suite, self.ours, self.theirs, comparability)
        self._books = {metric.name: TermsBook(policy, suite, metric) for metric in suite.metrics}

    def metric_checks(self, metric: Metric) -> list[Check]:
        """Primary: overall, every tier, every group. Secondary: overall, and what the policy demands."""
        if metric.role is Role.LIMIT:
            return []
        book = self._books[metric.name]
        checks = self._overall_checks(metric, book.of_overall())
        if metric.pooling is not Pooling.NONE and (self.ours.of(metric) or self.pools.baseline(metric)):
            for tier in self.pools.tiers:
                terms = book.of_tier(tier)
                if metric.role is Role.PRIMARY or terms.demanded:
                    pair = self.pools.tier(metric, tier)
                    checks.append(self._aggregate_check(metric, f"{TIER_PREFIX}{tier}", pair, terms))
        for group in self.pools.groups(metric):
            terms = book.of_group(group, self.pools.tier_of(group))
            if metric.role is Role.PRIMARY or terms.demanded:
                checks.append(self._group_check(metric, group, terms))
        return checks

    def strays(self, metric: Metric, checks: Iterable[Check]) -> list[Check]:
        """Unusable values where no regression check looks (a secondary's groups): failed, advisory."""
        seen = {check.group for check in checks}
        tolerances = self._books[metric.name].of_overall().tolerances
        values = [*self.ours.of(metric).values(), *filter(None, [self.ours.whole.get(metric.name)])]
        found = []
        for value in sorted(values, key=lambda value: value.group):
            reason = None if value.group in seen else unusable(metric, value, tolerances)
            if reason is not None and (metric.role is not Role.LIMIT or reason == "impossible_value"):
                found.append(
                    Check(
                        rule=Rule.REGRESSION,
                        metric=metric.name,
                        group=value.group,
                        outcome=Outcome.FAILED,
                        required=False,
                        reason=reason,
                        candidate=value.value,
                    )
                )
        return found

    def columns(self, metric: Metric, checks: Iterable[Check]) -> list[Aggregate]:
        if metric.role is Role.LIMIT:
            return []
        return aggregate_columns(
            self.pools, metric, self.policy.zero_tol, self._worsening_by_group(metric, checks)
        )

    def masked(self, metric: Metric, checks: Iterable[Check], columns: Iterable[Aggregate]) -> list[Check]:
        """Overall or macro did not regress while at least one group did: advisory, loud, names the groups."""
        outcomes = {check.group: check.outcome for check in checks if check.group}
        groups = [
            group
            for group, outcome in outcomes.items()
            if outcome is Outcome.REGRESSED and not is_reserved(group)
        ]
        if not groups:
            return []
        standing = {OVERALL: outcomes.get(OVERALL), MACRO: self._macro_outcome(metric)}
        calm = [name for name, outcome in standing.items() if outcome in OPENING]
        if not calm:
            return []
        improved = [name for name in calm if standing[name] is Outcome.IMPROVED]
        if any(column.name == GEOMEAN and (column.worsening or 0.0) < 0.0 for column in columns):
            improved.append(GEOMEAN)
        detail: dict[str, Json] = {
            "groups": [*sorted(groups)],
            "aggregates": [*calm],
            "improved": [*improved],
        }
        return [
            Check(
                rule=Rule.MASKED,
                metric=metric.name,
                outcome=Outcome.FAILED,
                required=False,
                reason="masked",
                detail=detail,
            )
        ]

    def _group_check(self, metric: Metric, group: str, terms: Terms) -> Check:
        candidate = self.ours.of(metric).get(group)
        baseline = self.pools.baseline(metric).get(group)
        differing = self.pools.differing(metric, group) if baseline is not None else ()
        if candidate is None and group in self._dropped:
            terms, differing = Terms(tolerances=terms.tolerances, required=False), ("groups",)
        return regression_check(
            Cell(
                metric=metric,
                group=group,
                baseline=baseline,
                candidate=candidate,
                has_champion=self.theirs is not None,
                terms=terms,
                missing=self._missing(metric, group),
                differing=differing,
            )
        )

    def _missing(self, metric: Metric, group: str) -> str:
        """A missing metric where the metric has no value at all or the group has others."""
        return "missing_metric" if not self.ours.has(metric) or group in self.ours.groups else "missing_group"

    def _overall_checks(self, metric: Metric, terms: Terms) -> list[Check]:
        """Pooled on a side that has groups of a metric that pools, else the measured or stated whole.

        A metric that does not pool has no overall check where neither side states one, and nothing is held
        up.
        """
        pools = metric.pooling is not Pooling.NONE
        ours, theirs = pools and bool(self.ours.of(metric)), pools and bool(self.pools.baseline(metric))
        pair = self.pools.overall(metric)
        if ours and theirs:
            return [self._aggregate_check(metric, OVERALL, pair, terms)]
        candidate = pair.candidate if ours else self.ours.whole.get(metric.name)
        baseline = (
            pair.baseline if theirs else None if self.theirs is None else self.theirs.whole.get(metric.name)
        )
        if candidate is None and baseline is None and self.pools.groups(metric):
            return []
        differing = () if baseline is None else self.pools.differing(metric, OVERALL)
        if candidate is not None and baseline is not None and ours != theirs:
            # Nobody knows what a whole without groups is made of.
            differing = (*differing, "groups")
        return [
            regression_check(
                Cell(
                    metric=metric,
                    group=OVERALL,
                    baseline=baseline,
                    candidate=candidate,
                    has_champion=self.theirs is not None,
                    terms=terms,
                    missing="missing_metric",
                    differing=differing,
                )
            )
        ]

    def _aggregate_check(self, metric: Metric, name: str, pair: Pair, terms: Terms) -> Check:
        """Compare a pooled aggregate over the groups both sides have, and say how many."""
        left_out: dict[str, Json] = dict(pair.left_out)
        cell = Cell(
            metric=metric,
            group=name,
            baseline=pair.baseline,
            candidate=pair.candidate,
            has_champion=self.theirs is not None,
            terms=terms,
            missing="missing_group" if self.ours.has(metric) else "missing_metric",
            differing=() if pair.baseline is None else self._differing_pair(metric, name, pair),
            detail={"groups_used": pair.used, "groups_total": pair.total, "left_out": left_out},
        )
        check = regression_check(cell)
        if (
            not pair.common
            and self.theirs is not None
            and "censored" in pair.left_out.values()
            and not cell.differing
        ):
            # Only bounds are left on one side: nothing is missing, but nothing can be pooled either.
            return replace(
                check,
                outcome=Outcome.NOT_EVALUATED,
                reason="censored",
                required=terms.required,
                worsening=None,
            )
        return check

    def _differing_pair(self, metric: Metric, name: str, pair: Pair) -> tuple[str, ...]:
        differing = self.pools.differing(metric, name)
        if differing or pair.common or pair.candidate is None or "censored" in pair.left_out.values():
            return differing
        changed = (self.pools.differing(metric, group) for group in pair.left_out)
        return next((fields for fields in changed if fields), ("groups",))

    def _macro_outcome(self, metric: Metric) -> Outcome | None:
        pair = self.pools.macro(metric)
        if not pair.common or pair.baseline is None or pair.candidate is None:
            return None
        tolerances = self._books[metric.name].of_overall().tolerances
        if unusable(metric, pair.baseline, tolerances) or unusable(metric, pair.candidate, tolerances):
            return None
        return compare(metric, pair.baseline, pair.candidate, tolerances).outcome

    def _worsening_by_group(self, metric: Metric, checks: Iterable[Check]) -> dict[str, float | None]:
        """Worsening of every group that was judged; None where it is worse than any ratio."""
        if metric.role is not Role.PRIMARY:
            return self._plain_worsening(metric)
        by_group: dict[str, float | None] = {}
        for check in checks:
            if check.group is None or is_reserved(check.group) or check.candidate is None:
                continue
            endless = check.outcome is Outcome.REGRESSED or check.reason == "non_finite"
            if (is_judged(check) and check.worsening is not None) or endless:
                by_group[check.group] = check.worsening
        return by_group

    def _plain_worsening(self, metric: Metric) -> dict[str, float | None]:
        """The same for a metric whose groups are not checked: every group that enters the aggregates."""
        if self.theirs is None:
            return {}
        by_group: dict[str, float | None] = {}
        for group in set(self.pools.groups(metric)) - self.pools.macro(metric).left_out.keys():
            baseline, candidate = self.pools.baseline(metric).get(group), self.ours.of(metric).get(group)
            if baseline and candidate and math.isfinite(baseline.value) and math.isfinite(candidate.value):
                change = worsening(metric, baseline.value, candidate.value, self.policy.zero_tol)
                if change is not None:
                    by_group[group] = change
        return by_group


def _dropped_groups(old: Suite, new: Suite) -> frozenset[str]:
    """Groups that the champion's suite listed and this version no longer does: they are not asked for any more."""
    listed = frozenset(group.name for group in new.groups)
    return frozenset(group.name for group in old.groups) - listed if listed else frozenset()
