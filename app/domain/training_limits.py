"""Limits while training: a policy's limits held against what is logged, as it arrives.

A limit that names `points` is broken by so many points in a row. One that does not is broken by DEFAULT_POINTS in a
row, and only once the metric had met it: at its beginning a training breaks most limits. A number that is not finite
breaks every limit, and from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.policy import Policy, PolicyRule, ScopeKind
from app.domain.scaling import exceeds

DEFAULT_POINTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A limit that was broken.

    Args:
        at: Index of the point that made it enough, in the values given.
        points: How many in a row.
    """

    at: int
    points: int


def rules_for(policy: Policy, *, metric: str, group: str | None) -> list[PolicyRule]:
    """The limits that speak of a logged metric; those of one suite or of a tier's aggregate do not."""
    return [
        rule
        for rule in policy.rules
        if rule.is_limit and rule.suite is None and rule.metric == metric and _covers(rule, group)
    ]


def limited_metrics(policy: Policy) -> frozenset[str]:
    """Names of the metrics that any limit speaks of, so that all others need not be looked at."""
    names: Iterable[str | None] = (
        rule.metric for rule in policy.rules if rule.is_limit and rule.suite is None
    )
    return frozenset(name for name in names if name is not None)


def points_needed(rule: PolicyRule) -> int:
    return DEFAULT_POINTS if rule.points is None else rule.points


def breaks(rule: PolicyRule, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points break the limit. Shape as `values`."""
    broken = ~np.isfinite(values)
    for i in np.flatnonzero(~broken & _suspects(rule, values)):
        # Through the one comparison that knows about binary fractions.
        value = float(values[i])
        broken[i] = (rule.max is not None and exceeds(value, rule.max)) or (
            rule.min is not None and exceeds(rule.min, value)
        )
    return broken


def breach_of(
    rule: PolicyRule, values: NDArray[np.float64], *, before: NDArray[np.float64], had_met: bool
) -> Breach | None:
    """The first time that enough points in a row broke the limit.

    Args:
        values: The points that arrived, in their order.
        before: The points just before them, at most `points_needed(rule) - 1`, the newest last.
        had_met: Whether any finite point before `values` met the limit.
    """
    needed = points_needed(rule)
    every = np.concatenate([before, values])
    broken = breaks(rule, every)
    is_finite = np.isfinite(every)
    armed = had_met or rule.points is not None
    in_a_row = 0
    for i, is_broken in enumerate(broken.tolist()):
        if not is_broken:
            armed, in_a_row = True, 0
            continue
        if not armed and is_finite[i]:
            continue
        in_a_row += 1
        if in_a_row >= needed and i >= len(before):
            return Breach(at=i - len(before), points=needed)
    return None


def _suspects(rule: PolicyRule, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Everything on the wrong side, exactly; a superset of what breaks the limit."""
    above = values > rule.max if rule.max is not None else np.zeros(len(values), dtype=bool)
    below = values < rule.min if rule.min is not None else np.zeros(len(values), dtype=bool)
    return np.asarray(above | below, dtype=np.bool_)


def _covers(rule: PolicyRule, group: str | None) -> bool:
    kind = ScopeKind.OVERALL if rule.scope is None else rule.scope.kind
    name = None if rule.scope is None else rule.scope.name
    if kind is ScopeKind.OVERALL:
        return group is None
    if kind is ScopeKind.GROUP:
        return group is not None and group == name
    return kind is ScopeKind.EACH and name is None and group is not None
