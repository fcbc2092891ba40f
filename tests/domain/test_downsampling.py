from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.downsampling import Extent, Thinning, chosen_points

VALUES = st.floats(allow_nan=True, allow_infinity=True, width=16)
POINTS = st.lists(st.tuples(st.integers(-(2**62), 2**62), VALUES), min_size=1, max_size=200)


def chosen(points: list[tuple[int, float]], most: int) -> tuple[list[int], list[float], list[int]]:
    points = sorted(points, key=lambda point: point[0])
    steps = np.array([step for step, _ in points], dtype=np.int64)
    values = np.array([value for _, value in points])
    which = chosen_points(steps, values, most)
    return [int(step) for step in steps], [float(value) for value in values], which.tolist()


@given(POINTS, st.integers(8, 60))
def test_never_more_than_asked_for_and_all_when_they_fit(points: list[tuple[int, float]], most: int) -> None:
    _, _, which = chosen(points, most)

    assert len(which) <= most
    assert which == sorted(set(which))
    if len(points) <= most:
        assert which == list(range(len(points)))


@given(POINTS, st.integers(8, 60))
def test_first_last_and_the_extremes_are_shown(points: list[tuple[int, float]], most: int) -> None:
    _, values, which = chosen(points, most)

    assert (which[0], which[-1]) == (0, len(values) - 1)
    finite = [value for value in values if math.isfinite(value)]
    shown = [values[i] for i in which if math.isfinite(values[i])]
    if finite:
        assert (min(shown), max(shown)) == (min(finite), max(finite))
    odd = [value for value in values if not math.isfinite(value)]
    assert bool(odd) == any(not math.isfinite(values[i]) for i in which)


# Few steps and few values, so that stretches reach over pieces and their extremes come several times.
ALIKE = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf])),
    min_size=20,
    max_size=60,
)


@given(ALIKE, st.integers(8, 16), st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_series_that_comes_in_pieces_is_thinned_as_if_it_came_at_once(
    points: list[tuple[int, float]], most: int, cuts: list[int]
) -> None:
    points = sorted(points, key=lambda point: point[0])
    steps = np.array([step for step, _ in points], dtype=np.int64)
    values = np.array([value for _, value in points])
    whole = chosen_points(steps, values, most)

    thinning = Thinning(Extent(count=len(points), first_step=points[0][0], last_step=points[-1][0]), most)
    borders = [0, *sorted(min(cut, len(points)) for cut in cuts), len(points)]
    for start, end in itertools.pairwise(borders):
        thinning.take(steps[start:end], values[start:end])

    chosen = thinning.chosen()
    assert chosen.places.tolist() == whole.tolist()
    assert chosen.steps.tolist() == steps[whole].tolist()
    np.testing.assert_array_equal(chosen.values, values[whole])


def test_a_piece_that_did_not_come_is_noticed() -> None:
    thinning = Thinning(Extent(count=3, first_step=0, last_step=2), 8)
    thinning.take(np.arange(2), np.zeros(2))

    with pytest.raises(ValueError, match="2 points came of 3"):
        thinning.chosen()


def test_a_spike_of_one_point_in_a_million_is_seen() -> None:
    values = np.zeros(1_000_000)
    values[[123_456, 777_777, 900_000]] = (1.0, -1.0, math.nan)

    which = chosen_points(np.arange(1_000_000), values, 2000)

    assert {123_456, 777_777, 900_000} <= set(which.tolist())
    assert len(which) <= 2000


def test_a_million_points_at_one_step_are_cut_by_their_order() -> None:
    which = chosen_points(np.zeros(1_000_000, dtype=np.int64), np.arange(1e6), 100)

    assert (which[0], which[-1]) == (0, 999_999)
    assert 40 <= len(which) <= 100


def test_too_few_points_to_show_anything_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="too few"):
        chosen_points(np.arange(3), np.zeros(3), 7)
