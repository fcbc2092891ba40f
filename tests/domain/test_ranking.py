"""Leaderboard order: best first, bounds behind, NaN last, whatever the direction."""

from __future__ import annotations

import itertools
import math

import pytest

from app.domain.evaluations import Bound
from app.domain.metrics import resolve_metric
from app.domain.ranking import sort_position

EXACT, LEAST, MOST = Bound.EXACT, Bound.AT_LEAST, Bound.AT_MOST
BAD = [(math.nan, EXACT), (math.inf, EXACT), (-math.inf, EXACT), (math.nan, LEAST)]


@pytest.mark.parametrize(
    ("spec", "best_first"),
    [
        ("lower", [(-1.0, EXACT), (0.0, EXACT), (2.0, EXACT), (1.0, LEAST), (3.0, MOST)]),
        ("higher", [(2.0, EXACT), (0.0, EXACT), (-1.0, EXACT), (3.0, MOST), (1.0, LEAST)]),
        ({"target": 5}, [(5.0, EXACT), (4.5, EXACT), (6.0, EXACT), (5.0, LEAST)]),
    ],
)
def test_ascending_is_best_first_whatever_order_they_come_in(
    spec: object, best_first: list[tuple[float, Bound]]
) -> None:
    metric = resolve_metric("m", spec)
    everything = [*best_first, *BAD]

    for shuffled in itertools.islice(itertools.permutations(everything), 0, 5000, 97):
        ranked = sorted(shuffled, key=lambda cell: sort_position(metric, *cell))
        assert ranked[: len(best_first)] == best_first


@pytest.mark.parametrize("spec", ["lower", "higher", {"target": -1e308}])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.7e308, -1.7e308, 0.0, -0.0])
def test_a_key_is_always_finite_and_zero_has_no_sign(spec: object, value: float) -> None:
    _, key = sort_position(resolve_metric("m", spec), value, EXACT)

    assert math.isfinite(key)
    assert math.copysign(1.0, key) == 1.0 or key != 0.0
