"""Streaming statistics are those of all samples at once."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun.moments import Moments, moments_by_index, moments_of

numpy = pytest.importorskip("numpy")

finite = st.floats(min_value=-1e6, max_value=1e6)
batches = st.lists(st.lists(finite, max_size=20), max_size=12)


def merged(parts: list[Moments]) -> Moments:
    total = Moments()
    for part in parts:
        total = total.merged(part)
    return total


def assert_close(left: Moments, right: Moments, scale: float = 1e6) -> None:
    assert left.n == right.n
    assert math.isclose(left.mean, right.mean, rel_tol=1e-9, abs_tol=1e-9 * scale)
    assert math.isclose(left.m2, right.m2, rel_tol=1e-6, abs_tol=1e-6 * scale)
    assert (left.nan, left.above, left.below) == (right.nan, right.above, right.below)


@given(batches)
def test_merged_batches_are_the_two_pass_statistics_of_all_samples(parts: list[list[float]]) -> None:
    samples = [sample for part in parts for sample in part]

    total = merged([moments_of(part) for part in parts])

    assert total.n == len(samples)
    if samples:
        assert math.isclose(total.mean, statistics.fmean(samples), rel_tol=1e-9, abs_tol=1e-6)
    if len(samples) > 1:
        assert total.stderr is not None
        expected = statistics.stdev(samples) / math.sqrt(len(samples))
        assert math.isclose(total.stderr, expected, rel_tol=1e-6, abs_tol=1e-6)


@given(batches, st.randoms(use_true_random=False))
def test_batches_may_come_in_any_order_and_be_cut_anywhere(parts: list[list[float]], random: Any) -> None:
    samples = [sample for part in parts for sample in part]
    shuffled = samples.copy()
    random.shuffle(shuffled)
    order = parts.copy()
    random.shuffle(order)

    in_one, in_parts, mixed = (
        moments_of(samples),
        merged([moments_of(part) for part in order]),
        moments_of(shuffled),
    )

    assert_close(in_parts, in_one)
    assert_close(mixed, in_one)


@given(batches, batches, batches)
def test_merging_is_associative_and_commutative(a: Any, b: Any, c: Any) -> None:
    one, two, three = (merged([moments_of(part) for part in parts]) for parts in (a, b, c))

    assert_close(one.merged(two).merged(three), three.merged(two.merged(one)))


@given(st.lists(st.tuples(st.floats(width=32), st.integers(0, 3)), max_size=50))
def test_numpy_and_pure_python_agree(labelled: list[tuple[float, int]]) -> None:
    samples, index = [value for value, _ in labelled], [label for _, label in labelled]

    slow = moments_by_index(samples, index, 4)
    fast = moments_by_index(numpy.asarray(samples, dtype=float), numpy.asarray(index, dtype=int), 4)

    for left, right in zip(slow, fast, strict=True):
        assert (left.n, left.nan, left.above, left.below) == (right.n, right.nan, right.above, right.below)
        assert math.isclose(
            left.mean, right.mean, rel_tol=1e-6, abs_tol=max(abs(left.mean), 1.0) * 1e-3 + 1e30
        )


def test_a_large_offset_does_not_eat_the_spread() -> None:
    parts = [[1e9 + value for value in (0.0, 1.0, 2.0)], [1e9 + value for value in (3.0, 4.0)]]

    total = merged([moments_of(part) for part in parts])

    assert total.mean == 1e9 + 2.0
    assert math.isclose(total.m2, 10.0)


@pytest.mark.parametrize(
    ("samples", "value"),
    [
        pytest.param([1.0, math.nan], math.nan, id="nan makes nan"),
        pytest.param([1.0, math.inf], math.inf, id="infinity stays"),
        pytest.param([1.0, -math.inf], -math.inf, id="minus infinity stays"),
        pytest.param([math.inf, -math.inf], math.nan, id="both make nan"),
        pytest.param([], math.nan, id="nothing is nan, not zero"),
        pytest.param([math.inf, math.inf, 2.0], math.inf, id="twice infinity is not nan"),
    ],
)
def test_non_finite_samples_show_in_the_value(samples: list[float], value: float) -> None:
    total = merged([moments_of([sample]) for sample in samples])

    assert total.value == pytest.approx(value, nan_ok=True)
    assert total.total == len(samples)
    assert total.stderr is None


def test_one_sample_has_no_standard_error() -> None:
    assert moments_of([3.0]).stderr is None
