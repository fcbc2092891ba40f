"""The columns of a verdict's aggregate table (RULES.md, *Aggregates*)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from app.domain.aggregates import GEOMEAN, MACRO, TIER_BALANCED, WORST, Pair, Pools
from app.domain.bouts import Bout
from app.domain.comparison import worsening
from app.domain.evaluations import OVERALL
from app.domain.metrics import Direction, Metric, Pooling
from app.domain.outcomes import Aggregate, Check
from app.domain.scaling import LARGEST, total
from app.domain.suite import TIER_PREFIX


class Worsened(NamedTuple):
    """A judged group, as in Check: worsening is None where it is worse beyond any ratio."""

    worsening: float | None
    candidate: float | None
    baseline: float | None


def aggregate_columns(
    bout: Bout, metric: Metric, zero_tol: float, judged: Mapping[str, Worsened | Check]
) -> list[Aggregate]:
    """Every column of a metric that ranks: overall, tiers, tier-balanced, macro, worst, ratios.

    Args:
        judged: What became of each group that was judged.
    """
    columns = []
    pools = bout.pools
    if metric.pooling is not Pooling.NONE and pools.candidate.of(metric):
        columns.append(_column(metric, OVERALL, bout.pair(metric, OVERALL), zero_tol))
        if pools.tiers:
            columns += [
                _column(metric, name, bout.pair(metric, name), zero_tol)
                for name in (*(f"{TIER_PREFIX}{tier}" for tier in pools.tiers), TIER_BALANCED)
            ]
    elif metric.name in pools.candidate.whole:
        columns.append(_column(metric, OVERALL, bout.whole_pair(metric), zero_tol))
    if pools.candidate.of(metric):
        columns.append(_column(metric, MACRO, bout.pair(metric, MACRO), zero_tol))
        columns += _worst(pools, metric, judged)
        columns += _geometric_mean(pools, metric)
    return [column for column in columns if column.value is not None]


def _column(metric: Metric, name: str, pair: Pair, zero_tol: float) -> Aggregate:
    value = None if pair.candidate is None else pair.candidate.value
    baseline = None if pair.baseline is None or not pair.common else pair.baseline.value
    change = None
    if value is not None and baseline is not None and math.isfinite(value) and math.isfinite(baseline):
        change = worsening(metric, baseline, value, zero_tol)
    return Aggregate(
        metric=metric.name,
        name=name,
        value=value,
        baseline=baseline,
        worsening=change,
        groups_used=pair.used,
        groups_total=pair.total,
        left_out=pair.left_out,
    )


def _worst(pools: Pools, metric: Metric, judged: Mapping[str, Worsened | Check]) -> list[Aggregate]:
    """The group that worsened most; a group whose value is not a number is worse than any."""
    if pools.champion is None or not judged:
        return []
    endless = [group for group, worsened in judged.items() if worsened.worsening is None]
    most = None if endless else max(worsened.worsening or 0.0 for worsened in judged.values())
    name = min(endless or [group for group, worsened in judged.items() if worsened.worsening == most])
    groups = pools.groups(metric)
    return [
        Aggregate(
            metric=metric.name,
            name=WORST,
            value=judged[name].candidate,
            baseline=judged[name].baseline,
            worsening=judged[name].worsening,
            groups_used=len(judged),
            groups_total=len(groups),
            left_out={group: "not_judged" for group in groups if group not in judged},
            group=name,
        )
    ]


def _geometric_mean(pools: Pools, metric: Metric) -> list[Aggregate]:
    """exp(mean of ln(candidate / champion)): below 1 is better for lower-is-better, above 1 for higher."""
    if pools.champion is None or metric.direction in (None, Direction.TARGET):
        return []
    pair = pools.macro(metric)
    if not pair.common:
        return []
    sides = pools.numbers(metric, pair)
    theirs, ours = (numbers.tolist() for numbers in sides)
    left_out = dict(pair.left_out)
    if all(((numbers > 0.0) & (numbers < math.inf)).all() for numbers in sides):
        logs = [math.log(a) - math.log(b) for a, b in zip(ours, theirs, strict=True)]
    else:
        logs = []
        for group, a, b in zip(pair.groups, ours, theirs, strict=True):
            both = a > 0.0 and b > 0.0
            if math.isnan(a) or math.isnan(b) or (both and not (math.isinf(a) and math.isinf(b))):
                logs.append(math.log(a) - math.log(b) if both else math.nan)
            else:
                left_out[group] = "not_positive"
    if not logs:
        return []
    value = _exp(total(logs) / len(logs))
    change = (
        None
        if not math.isfinite(value)
        else (1.0 - value if metric.direction is Direction.HIGHER else value - 1.0)
    )
    return [
        Aggregate(
            metric=metric.name,
            name=GEOMEAN,
            value=value,
            baseline=1.0,
            worsening=change,
            groups_used=len(logs),
            groups_total=pair.total,
            left_out=left_out,
        )
    ]


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return LARGEST
