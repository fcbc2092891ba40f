"""Limits that contradict each other, with the arithmetic (RULES.md, *Limits*, last sentence).

Lower limits on groups and tiers imply a lowest possible overall; if that lies above the overall's upper
limit, no run can pass. The same upside down for upper limits. A metric's ideal counts as a limit that nothing
can pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.domain.evaluations import OVERALL
from app.domain.metrics import Direction, Metric, Pooling
from app.domain.policy import Policy, PolicyRule, ScopeKind
from app.domain.scaling import exceeds
from app.domain.sentences import number
from app.domain.suites import TIER_PREFIX, Suite, tiers_of, weights
from app.domain.weighing import weighted_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One summand of an aggregate: its name, its share, and the range that limits leave it."""

    name: str
    share: float
    low: float
    high: float


def contradictions(policy: Policy, suite: Suite) -> tuple[str, ...]:
    """A sentence for each pair of limits that no run can meet at once, under the suite's weights."""
    found: list[str] = []
    for metric in suite.metrics:
        rules = [
            rule
            for rule in policy.rules
            if rule.is_limit and rule.suite in (None, suite.key) and rule.metric == metric.name
        ]
        if rules:
            found += [f"{suite.key}, {metric.name}: {text}" for text in _of_metric(metric, rules, suite)]
    return tuple(found)


def _of_metric(metric: Metric, rules: list[PolicyRule], suite: Suite) -> Iterable[str]:
    shares = weights(suite)
    groups = []
    for group in suite.groups:
        if metric.groups is not None and group.name not in metric.groups:
            continue
        speaking = [rule for rule in rules if _speaks_of_group(rule, group.name, group.tier)]
        part = _Part(name=group.name, share=shares.get(group.name, 0.0), **_range(speaking, metric))
        yield from _crossed(part)
        groups.append((group.tier, part))
    parts = [part for tier, part in groups if tier is None]
    for tier in tiers_of(suite):
        members = [part for of_tier, part in groups if of_tier == tier]
        own = _range([rule for rule in rules if _is_for(rule, ScopeKind.TIER, tier)], metric)
        if not members:
            continue
        yield from _against(f"{TIER_PREFIX}{tier}", members, own, metric)
        low, high = _implied(members, metric)
        share = math.fsum(part.share for part in members)
        part = _Part(name=tier, share=share, low=max(low, own["low"]), high=min(high, own["high"]))
        yield from _crossed(_Part(name=f"{TIER_PREFIX}{tier}", share=share, **own))
        parts.append(part)
    own = _range([rule for rule in rules if _is_for(rule, ScopeKind.OVERALL, None)], metric)
    yield from _crossed(_Part(name=OVERALL, share=1.0, **own))
    yield from _against(OVERALL, parts, own, metric)


def _speaks_of_group(rule: PolicyRule, group: str, tier: str | None) -> bool:
    if rule.scope is None:
        return False
    if rule.scope.kind is ScopeKind.GROUP:
        return rule.scope.name == group
    return rule.scope.kind is ScopeKind.EACH and rule.scope.name in (None, tier)


def _is_for(rule: PolicyRule, kind: ScopeKind, name: str | None) -> bool:
    if rule.scope is None:
        return kind is ScopeKind.OVERALL
    return rule.scope.kind is kind and rule.scope.name == name


def _range(rules: Iterable[PolicyRule], metric: Metric) -> dict[str, float]:
    """The tightest range of several limits; an ideal bounds a metric on its good side."""
    limits = list(rules)
    low = max((rule.min for rule in limits if rule.min is not None), default=-math.inf)
    high = min((rule.max for rule in limits if rule.max is not None), default=math.inf)
    if metric.ideal is not None and metric.direction is Direction.LOWER:
        low = max(low, metric.ideal)
    if metric.ideal is not None and metric.direction is Direction.HIGHER:
        high = min(high, metric.ideal)
    return {"low": low, "high": high}


def _crossed(part: _Part) -> Iterable[str]:
    if math.isfinite(part.low) and math.isfinite(part.high) and exceeds(part.low, part.high):
        yield f"{part.name} must be ≥ {number(part.low)} and ≤ {number(part.high)} at once"


def _implied(parts: list[_Part], metric: Metric) -> tuple[float, float]:
    """Lowest and highest aggregate that the parts' ranges allow; ±∞ where one is open or nothing pools."""
    weighing = [part for part in parts if part.share > 0.0]
    if not weighing or metric.pooling is Pooling.NONE:
        return -math.inf, math.inf
    squares = metric.pooling is Pooling.RMS
    bounds = []
    for side, nothing in (("low", -math.inf), ("high", math.inf)):
        limits = [(part.share, getattr(part, side)) for part in weighing]
        closed = all(math.isfinite(x) and not (squares and x < 0.0) for _, x in limits)
        bounds.append(weighted_mean(limits, squares=squares) if closed else nothing)
    return bounds[0], bounds[1]


def _against(name: str, parts: list[_Part], own: Mapping[str, float], metric: Metric) -> Iterable[str]:
    low, high = _implied(parts, metric)
    if math.isfinite(low) and math.isfinite(own["high"]) and exceeds(low, own["high"]):
        sum_of_parts = _arithmetic(parts, "low", metric)
        yield f"{sum_of_parts} give {name} ≥ {number(low)}, above its limit {number(own['high'])}"
    if math.isfinite(high) and math.isfinite(own["low"]) and exceeds(own["low"], high):
        sum_of_parts = _arithmetic(parts, "high", metric)
        yield f"{sum_of_parts} give {name} ≤ {number(high)}, below its limit {number(own['low'])}"


def _arithmetic(parts: list[_Part], side: str, metric: Metric) -> str:
    """`33.3 % · easy ≥ 0 + 33.3 % · medium ≥ 0.2 + 33.3 % · hard ≥ 0.7`"""
    sign = "≥" if side == "low" else "≤"
    whole = math.fsum(part.share for part in parts)
    square = "²" if metric.pooling is Pooling.RMS else ""
    terms = [
        f"{100 * part.share / whole:.1f} % · ({part.name} {sign} {number(getattr(part, side))}){square}"
        for part in parts
        if part.share > 0.0
    ]
    return " + ".join(terms)
