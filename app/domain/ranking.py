"""Where a value stands on a leaderboard; NaN is never first in any order."""

from __future__ import annotations

import math

from app.domain.evaluations import Bound
from app.domain.metrics import Direction, Metric
from app.domain.scaling import clamped

EXACT, ONLY_A_BOUND, NOT_FINITE = 0, 1, 2


def sort_position(metric: Metric, value: float, bound: Bound) -> tuple[int, float]:
    """Ascending is best first, whatever the direction.

    Returns:
        The class (0 exact and finite, 1 only a bound, 2 not finite) and within it the key, always finite.
    """
    if not math.isfinite(value):
        return NOT_FINITE, 0.0
    if metric.direction is Direction.TARGET:
        key = clamped(abs(value - (metric.target or 0.0)))
    else:
        key = -value if metric.direction is Direction.HIGHER else value
    return (EXACT if bound is Bound.EXACT else ONLY_A_BOUND), key + 0.0
