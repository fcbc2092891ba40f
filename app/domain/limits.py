"""Limits: physics gates, success criteria, ranges (RULES.md, *Limits*).

A limit judges the candidate alone. Absent is never 0: what is not there is not_evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from app.domain.aggregates import Pools
from app.domain.comparison import is_impossible
from app.domain.evaluations import OVERALL, Bound, Value
from app.domain.metrics import Metric
from app.domain.outcomes import Check, Outcome, Rule
from app.domain.policy import Policy, PolicyRule, ScopeKind, Severity
from app.domain.scaling import exceeds
from app.domain.suites import TIER_PREFIX, find_metric
from app.domain.wholes import overall_of, tier_of


def limit_checks(pools: Pools, policy: Policy) -> list[Check]:
    """One check for each cell that each limit speaks of; `pools` holds the candidate alone."""
    checks = []
    for rule in policy.rules:
        if not rule.is_limit or rule.suite not in (None, pools.suite.key):
            continue
        names = [metric.name for metric in pools.suite.metrics] if rule.metric is None else [rule.metric]
        for name in names:
            metric = find_metric(pools.suite, name)
            for group, value, reason in _cells(pools, rule, metric):
                checks.append(_limit_check(rule, name, metric, group, value, reason, policy.zero_tol))
    return checks


def is_required(rule: PolicyRule) -> bool:
    """Severity fail is required, warn is advisory, unless the rule says otherwise."""
    return rule.severity is Severity.FAIL if rule.required is None else rule.required


def _cells(
    pools: Pools, rule: PolicyRule, metric: Metric | None
) -> Iterator[tuple[str, Value | None, str | None]]:
    """The cells of a rule's scope: name, the candidate's value, and why it cannot be held to the limit."""
    kind = ScopeKind.OVERALL if rule.scope is None else rule.scope.kind
    name = None if rule.scope is None else rule.scope.name
    if metric is None:
        yield _cell_name(kind, name), None, "missing_metric"
    elif kind is ScopeKind.OVERALL:
        yield (OVERALL, *_whole(overall_of(pools, metric)))
    elif kind is ScopeKind.TIER:
        yield (f"{TIER_PREFIX}{name}", *_whole(tier_of(pools, metric, name or "")))
    else:
        yield from _group_cells(pools, metric, kind, name)


def _group_cells(
    pools: Pools, metric: Metric, kind: ScopeKind, name: str | None
) -> Iterator[tuple[str, Value | None, str | None]]:
    if kind is ScopeKind.GROUP:
        groups = [name or ""]
    else:
        groups = [group for group in pools.groups(metric) if name is None or pools.tier_of(group) == name]
    if not groups:
        yield _cell_name(kind, name), None, "missing_metric"
    values = pools.candidate.of(metric)
    for group in groups:
        value = values.get(group)
        yield group, value, None if value is not None else "missing_metric"


def _cell_name(kind: ScopeKind, name: str | None) -> str:
    if kind is ScopeKind.GROUP and name is not None:
        return name
    return OVERALL if name is None else f"{TIER_PREFIX}{name}"


def _whole(whole: tuple[Value | None, str | None]) -> tuple[Value | None, str | None]:
    value, left_out = whole
    # Where every group is only a bound nothing is missing, but nothing can be pooled either.
    return value, "missing_metric" if value is None and left_out != "censored" else left_out


def _limit_check(
    rule: PolicyRule,
    name: str,
    metric: Metric | None,
    group: str,
    value: Value | None,
    reason: str | None,
    zero_tol: float,
) -> Check:
    outcome, reason, limit = _judged(rule, metric, value, reason, zero_tol)
    notes = []
    if rule.unit is not None and metric is not None and metric.unit is None:
        notes.append("unit_unknown")
    if value is not None and value.bound is not Bound.EXACT:
        notes.append("bound")
    return Check(
        rule=Rule.LIMIT,
        metric=name,
        group=group,
        outcome=outcome,
        required=is_required(rule),
        reason=reason,
        notes=tuple(notes),
        candidate=None if value is None else value.value,
        limit=limit,
        detail={key: bound for key, bound in (("max", rule.max), ("min", rule.min)) if bound is not None},
    )


def _judged(
    rule: PolicyRule, metric: Metric | None, value: Value | None, missing: str | None, zero_tol: float
) -> tuple[Outcome, str | None, float | None]:
    """Outcome, reason, and the bound that decided (for a pass the one given, max before min)."""
    given = rule.max if rule.max is not None else rule.min
    if value is None or metric is None:
        return Outcome.NOT_EVALUATED, missing or "missing_metric", given
    if not math.isfinite(value.value):
        return Outcome.FAILED, "non_finite", given
    if is_impossible(metric, value, zero_tol):
        return Outcome.FAILED, "impossible_value", given
    if rule.unit is not None and metric.unit is not None and rule.unit != metric.unit:
        return Outcome.NOT_EVALUATED, "incomparable", given
    if missing is not None:
        return Outcome.NOT_EVALUATED, missing, given
    # A value that is only a bound decides where the bound itself decides.
    if rule.max is not None and value.bound is not Bound.AT_MOST and exceeds(value.value, rule.max):
        return Outcome.FAILED, "above_max", rule.max
    if rule.min is not None and value.bound is not Bound.AT_LEAST and exceeds(rule.min, value.value):
        return Outcome.FAILED, "below_min", rule.min
    open_above = value.bound is Bound.AT_LEAST and rule.max is not None
    open_below = value.bound is Bound.AT_MOST and rule.min is not None
    if open_above or open_below:
        return Outcome.NOT_EVALUATED, "censored", given
    if (rule.max is not None and exceeds(value.value, rule.max)) or (
        rule.min is not None and exceeds(rule.min, value.value)
    ):
        return Outcome.NOT_EVALUATED, "censored", given
    return Outcome.PASS, None, given
