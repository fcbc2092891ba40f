"""The physics metrics of the training, on states whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from examples.burgers.equation import Fields, points
from examples.burgers.physics import energy_growth, mass_gap, relative_error, spectral_error


def sines(*amplitudes: float, mean: float = 0.0) -> Fields:
    """One state: waves of wave numbers 1, 2, …"""
    x = points(64)
    state: Fields = mean + sum(a * np.sin(k * x) for k, a in enumerate(amplitudes, start=1))[None]
    return state


def test_a_relative_error_is_of_each_sample_alone() -> None:
    truth = np.concatenate([sines(1.0), sines(100.0)])

    errors = relative_error(np.concatenate([sines(1.1), sines(100.0, 5.0)]), truth)

    np.testing.assert_allclose(errors, [0.1, 0.05])


@pytest.mark.parametrize("shift", [0.1, -0.1])
def test_mass_that_came_or_went_is_told_in_units_of_the_state(shift: float) -> None:
    start = sines(2.0)

    gap = mass_gap(sines(1.0, mean=shift), start)

    np.testing.assert_allclose(gap, 0.1 / np.sqrt(2))


def test_only_growth_of_energy_counts() -> None:
    start = sines(1.0)

    np.testing.assert_allclose(energy_growth(sines(2.0), start), 3.0)
    np.testing.assert_array_equal(energy_growth(sines(0.5), start), 0.0)


def test_a_mode_ten_times_as_strong_is_two_decades_off() -> None:
    truth = sines(1.0, 0.05)

    error = spectral_error(sines(1.0, 0.5), truth)

    # One of 32 wave numbers; the floor takes a little off.
    np.testing.assert_allclose(error * 32, 2.0, atol=1e-3)


def test_a_spectrum_does_not_see_a_shift_and_not_what_is_too_faint() -> None:
    truth = sines(1.0, 0.3)

    assert spectral_error(np.roll(truth, 5, axis=1), truth)[0] < 1e-9
    assert spectral_error(truth + 1e-5 * sines(0, 0, 1.0), truth)[0] < 1e-4


@pytest.mark.parametrize("metric", [relative_error, mass_gap, energy_growth, spectral_error])
def test_what_is_not_finite_is_no_perfect_score(metric: object) -> None:
    truth = np.concatenate([sines(1.0), sines(1.0)])
    answer = truth.copy()
    answer[0, 3] = np.nan

    values = metric(answer, truth)  # type: ignore[operator]

    assert np.isnan(values[0])
    assert values[1] == 0
