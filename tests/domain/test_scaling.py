"""Arithmetic that cannot overflow."""

from __future__ import annotations

import itertools
import math

import pytest

from app.domain.scaling import (
    LARGEST,
    beyond,
    difference,
    exceeds,
    exponent_for,
    ratio,
    scaled,
    total,
    unscaled,
)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1e16, 1.0, -1e16], 1.0),
        ([1.7e308, 1.7e308, -1.7e308], 1.7e308),
        ([1.7e308, 1.7e308], LARGEST),
        ([-1.7e308, -1.7e308], -LARGEST),
        ([5e-324, 5e-324], 1e-323),
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([], 0.0),
    ],
)
def test_a_total_is_exact_in_any_order(numbers: list[float], expected: float) -> None:
    for shuffled in itertools.permutations(numbers):
        assert repr(total(shuffled)) == repr(expected)


@pytest.mark.parametrize("x", [0.0, 1.0, -1e99, 1e101, -1.7e308, 1e-101, 5e-324])
def test_scaling_by_a_power_of_two_loses_nothing(x: float) -> None:
    exponent = exponent_for(x)

    assert unscaled(scaled(x, exponent), exponent) == x
    assert abs(scaled(x, exponent)) < 1e100


def test_what_does_not_fit_keeps_its_sign() -> None:
    assert scaled(-1e300, -1000) == -math.inf
    assert unscaled(-1.0, 2000) == -LARGEST
    assert difference(-1.7e308, 1.7e308) == -LARGEST
    assert ratio(-1.0, 0.0) == -LARGEST
    assert ratio(1e308, 1e-308) == LARGEST
    assert ratio(0.0, 0.0) == 0.0


def test_the_slack_is_a_billionth_of_the_largest_number() -> None:
    assert not beyond(0.1 + 0.9e-9, 0.1, 1.0)
    assert beyond(0.1 + 1.1e-9, 0.1, 1.0)
    assert not beyond(1e300, math.inf, 1.0)
    assert not exceeds(1.0 + 0.9e-9, 1.0)
    assert exceeds(1.0 + 1.1e-9, 1.0)
