"""The server's own number for a whole: what limits, boards and tables call `overall`, `tier:…`, `macro`.

For one evaluation alone, over all groups it has; comparisons with a champion are in `aggregates`.
"""

from __future__ import annotations

from dataclasses import replace

from app.domain.aggregates import Pair, Pools
from app.domain.evaluations import OVERALL, Bound, Evaluation, Value
from app.domain.metrics import Direction, Metric, Pooling
from app.domain.readings import readings_of
from app.domain.suites import TIER_PREFIX, Suite, find_metric


def alone(suite: Suite, evaluation: Evaluation) -> Pools:
    """The aggregates of one evaluation, with no champion beside it."""
    return Pools(suite, readings_of(suite, evaluation), None, None)


def overall_of(pools: Pools, metric: Metric) -> tuple[Value | None, str | None]:
    """The overall, and why it is not the whole (`censored`, `missing_group`) where it left a group out.

    Pooled for a metric that pools and has group values, else the measured or stated one; None with neither.
    """
    if metric.pooling is not Pooling.NONE and pools.candidate.of(metric):
        pair = pools.overall(metric)
        return pair.candidate, _gap_in(pair)
    return pools.candidate.whole.get(metric.name), None


def tier_of(pools: Pools, metric: Metric, tier: str) -> tuple[Value | None, str | None]:
    """A tier's pooled value likewise; None for a metric that does not pool."""
    if metric.pooling is Pooling.NONE:
        return None, None
    pair = pools.tier(metric, tier)
    return pair.candidate, _gap_in(pair)


def macro_of(pools: Pools, metric: Metric) -> tuple[Value | None, str | None]:
    pair = pools.macro(metric)
    return pair.candidate, _gap_in(pair)


def _gap_in(pair: Pair) -> str | None:
    """A group that has no weight is nobody's loss; one that is missing or only a bound leaves a gap."""
    reasons = set(pair.left_out.values())
    return next((reason for reason in ("censored", "missing_group") if reason in reasons), None)


def overall_value(suite: Suite, evaluation: Evaluation, metric: Metric | str) -> Value | None:
    """The server's own overall of one metric: pooled, or for a metric that does not pool the stated one.

    A whole that left groups out (missing or censored) is only a best case: its bound points in the worse
    direction, so it sorts behind exact values.
    """
    known = find_metric(suite, metric if isinstance(metric, str) else metric.name)
    return None if known is None else _shown(known, OVERALL, overall_of(alone(suite, evaluation), known))


def board_values(suite: Suite, evaluation: Evaluation) -> tuple[Value, ...]:
    """Every cell that a leaderboard can rank: groups, overall, tiers, macro, of metrics with a direction."""
    pools = alone(suite, evaluation)
    values: list[Value] = []
    for metric in suite.metrics:
        if metric.direction is None:
            continue
        wholes = [_shown(metric, OVERALL, overall_of(pools, metric))]
        wholes += [
            _shown(metric, f"{TIER_PREFIX}{tier}", tier_of(pools, metric, tier)) for tier in pools.tiers
        ]
        wholes.append(_shown(metric, "macro", macro_of(pools, metric)))
        values += [value for value in wholes if value is not None]
        by_group = pools.candidate.of(metric)
        values += [by_group[group] for group in pools.groups(metric) if group in by_group]
    return tuple(values)


def _shown(metric: Metric, group: str, whole: tuple[Value | None, str | None]) -> Value | None:
    value, left_out = whole
    if value is None:
        return None
    if left_out is None:
        return replace(value, group=group)
    worse = Bound.AT_MOST if metric.direction is Direction.HIGHER else Bound.AT_LEAST
    return replace(value, group=group, bound=worse)
