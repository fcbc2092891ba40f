"""Every regression check of an evaluation: which cells there are, and what stands on both sides of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from app.domain.aggregates import GEOMEAN, MACRO
from app.domain.bouts import Bout
from app.domain.cells import Cell, compared, regression_check, unusable
from app.domain.columns import Worsened, aggregate_columns
from app.domain.comparison import worsening
from app.domain.evaluations import OVERALL, Evaluation
from app.domain.gate import JUDGED, OPENING
from app.domain.kin import Champion, Sibling
from app.domain.metrics import Metric, Pooling, Role
from app.domain.outcomes import Aggregate, Check, Json, Outcome, Rule
from app.domain.policy import Policy
from app.domain.readings import readings_of
from app.domain.suites import Suite
from app.domain.tolerances import Terms, TermsBook
from app.domain.trend import Trend

# From how many groups on it pays to judge them all at once.
BULK_FROM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChecks:
    """A metric's regression checks: of its overall and tiers, and of its groups."""

    wholes: list[Check]
    groups: list[Check]

    @property
    def every(self) -> list[Check]:
        return [*self.wholes, *self.groups]


class Judge:
    """Both sides of one assessment, looked through once.

    Args:
        bulk_from: From how many groups on they are judged at once, with the same checks.
    """

    def __init__(
        self,
        suite: Suite,
        candidate: Evaluation,
        champion: Champion | None,
        policy: Policy,
        siblings: tuple[Sibling, ...] = (),
        history: tuple[Champion, ...] = (),
        *,
        bulk_from: int = BULK_FROM,
    ) -> None:
        self.suite, self.policy = suite, policy
        self._bulk_from = bulk_from
        self.ours = readings_of(suite, candidate)
        self.bout = Bout(suite, self.ours, siblings, champion, policy)
        self.pools = self.bout.pools
        self._trend = Trend(suite, self.ours, siblings, champion, history, policy)
        self._books = {metric.name: TermsBook(policy, suite, metric) for metric in suite.metrics}

    def metric_checks(self, metric: Metric) -> MetricChecks:
        """Primary: overall, every tier, every group. Secondary: overall, and what the policy demands."""
        if metric.role is Role.LIMIT:
            return MetricChecks(wholes=[], groups=[])
        wholes = [regression_check(cell) for cell in self._aggregate_cells(metric)]
        groups, terms = self.judged_groups(metric)
        if len(groups) < self._bulk_from:
            cells = map(partial(self.bout.group_cell, metric), groups, terms)
            return MetricChecks(wholes=wholes, groups=[regression_check(cell) for cell in cells])
        at_once = self.bout.group_checks(metric, groups, terms)
        return MetricChecks(
            wholes=wholes,
            groups=[
                check or regression_check(self.bout.group_cell(metric, group, its_terms))
                for group, its_terms, check in zip(groups, terms, at_once, strict=True)
            ],
        )

    def trend_checks(self, metric: Metric) -> list[Check]:
        """The same cells against the best champion so far, where that is not the current one."""
        if metric.role is Role.LIMIT or not self._trend:
            return []
        groups, terms = self.judged_groups(metric)
        cells = [*self._aggregate_cells(metric)]
        if len(groups) < self._bulk_from:
            cells += map(partial(self.bout.group_cell, metric), groups, terms)
        checks = [check for cell in cells if (check := self._trend.check(cell)) is not None]
        if len(groups) < self._bulk_from:
            return checks
        return [*checks, *self._trend.group_checks(self.bout, metric, groups, terms)]

    def _aggregate_cells(self, metric: Metric) -> Iterator[Cell]:
        book, bout, pools = self._books[metric.name], self.bout, self.pools
        overall = bout.overall_cell(metric, book.of_overall())
        if overall is not None:
            yield overall
        if metric.pooling is not Pooling.NONE and (self.ours.of(metric) or pools.baseline(metric)):
            for tier in pools.tiers:
                terms = book.of_tier(tier)
                if metric.role is Role.PRIMARY or terms.demanded:
                    yield bout.tier_cell(metric, tier, terms)

    def judged_groups(self, metric: Metric) -> tuple[list[str], list[Terms]]:
        """The groups that are judged one by one, each with its terms."""
        book, pools = self._books[metric.name], self.pools
        if metric.role is Role.PRIMARY and book.is_plain:
            groups = [*pools.groups(metric)]
            return groups, [book.of_overall()] * len(groups)
        pairs = [(group, book.of_group(group, pools.tier_of(group))) for group in pools.groups(metric)]
        judged = [pair for pair in pairs if metric.role is Role.PRIMARY or pair[1].demanded]
        return [group for group, _ in judged], [terms for _, terms in judged]

    def strays(self, metric: Metric, checks: MetricChecks) -> list[Check]:
        """Unusable values where no regression check looks (a secondary's groups): failed, advisory."""
        seen = {check.group for check in checks.every}
        of_groups, whole = self.ours.of(metric), self.ours.whole.get(metric.name)
        unseen = [of_groups[group] for group in of_groups.keys() - seen]
        unseen += [] if whole is None or whole.group in seen else [whole]
        found = []
        for value in sorted(unseen, key=lambda value: value.group):
            reason = unusable(metric, value, self.policy.zero_tol)
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

    def columns(self, metric: Metric, checks: MetricChecks) -> list[Aggregate]:
        if metric.role is Role.LIMIT:
            return []
        return aggregate_columns(
            self.bout, metric, self.policy.zero_tol, self._worsening_by_group(metric, checks.groups)
        )

    def masked(self, metric: Metric, checks: MetricChecks, columns: Iterable[Aggregate]) -> list[Check]:
        """Overall or macro did not regress while at least one group did: advisory, loud, names the groups."""
        groups = [check.group or "" for check in checks.groups if check.outcome is Outcome.REGRESSED]
        if not groups:
            return []
        overall = next((check for check in checks.wholes if check.group == OVERALL), None)
        standing = {OVERALL: overall, MACRO: self._macro_check(metric)}
        calm = {name: check for name, check in standing.items() if check and _did_not_regress(check)}
        if not calm:
            return []
        improved = [name for name, check in calm.items() if check.outcome is Outcome.IMPROVED]
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

    def _macro_check(self, metric: Metric) -> Check | None:
        cell = self.bout.macro_cell(metric, self._books[metric.name].of_overall())
        return None if cell is None or cell.baseline is None or cell.candidate is None else compared(cell)

    def _worsening_by_group(self, metric: Metric, checks: Iterable[Check]) -> Mapping[str, Worsened | Check]:
        """What became of every group that was judged."""
        if metric.role is not Role.PRIMARY:
            return self._plain_worsening(metric)
        return {
            check.group or "": check
            for check in checks
            if check.candidate is not None
            and (
                (check.worsening is not None and check.outcome in JUDGED)
                or check.outcome is Outcome.REGRESSED
                or check.reason == "non_finite"
            )
        }

    def _plain_worsening(self, metric: Metric) -> dict[str, Worsened]:
        """The same for a metric whose groups are not checked: every group that enters the aggregates."""
        if self.bout.theirs is None:
            return {}
        by_group: dict[str, Worsened] = {}
        for group in set(self.pools.groups(metric)) - self.pools.macro(metric).left_out.keys():
            baseline, candidate = self.pools.baseline(metric).get(group), self.ours.of(metric).get(group)
            if baseline and candidate and math.isfinite(baseline.value) and math.isfinite(candidate.value):
                change = worsening(metric, baseline.value, candidate.value, self.policy.zero_tol)
                if change is not None:
                    by_group[group] = Worsened(change, candidate.value, baseline.value)
        return by_group


def _did_not_regress(check: Check) -> bool:
    return check.outcome in OPENING or "looks_better" in check.notes
