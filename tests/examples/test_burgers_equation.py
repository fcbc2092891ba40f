"""The solver that the training's truth comes from, against what is known of the equation."""

from __future__ import annotations

import numpy as np
import pytest

from examples.burgers import physics
from examples.burgers.data import CELLS, GROUPS, TIERS, make
from examples.burgers.equation import Fields, cell_means, points, random_waves, solve


def waves(count: int = 8, *, n: int = 512) -> Fields:
    return random_waves(np.random.default_rng(5), count=count, n=n)


def cole_hopf(n: int, *, viscosity: float, time: float) -> Fields:
    """An exact solution, shape (1, n): −2ν φ_x / φ for φ = 1.2 + exp(−νt) cos x, which solves the heat equation."""
    x, decay = points(n), np.exp(-viscosity * time)
    exact: Fields = (2 * viscosity * decay * np.sin(x) / (1.2 + decay * np.cos(x)))[None]
    return exact


@pytest.mark.parametrize("viscosity", [0.5, 0.1])
def test_the_exact_solution_of_cole_and_hopf_is_met(viscosity: float) -> None:
    start = cole_hopf(128, viscosity=viscosity, time=0)

    end = solve(start, viscosity, time=2.0, steps=200)

    assert np.abs(end - start).max() > 0.05
    np.testing.assert_allclose(end, cole_hopf(128, viscosity=viscosity, time=2.0), atol=1e-10)


def test_mass_is_conserved_to_rounding_and_energy_only_falls() -> None:
    start = waves()

    end = solve(start, 0.01, time=1.0, steps=100)

    np.testing.assert_allclose(end.mean(axis=1), start.mean(axis=1), atol=1e-13)
    assert ((end**2).mean(axis=1) < (start**2).mean(axis=1)).all()


def test_finer_grids_converge_on_one_answer() -> None:
    start = waves(n=1024)
    finest = solve(start, 0.02, time=1.0, steps=400)

    errors = [
        np.abs(solve(start[:, :: 1024 // n], 0.02, time=1.0, steps=400) - finest[:, :: 1024 // n]).max()
        for n in (128, 256, 512)
    ]

    # Spectral accuracy: each doubling gains more than any fixed order would.
    assert errors[0] > 10 * errors[1] > 1000 * errors[2]


def test_half_the_step_has_a_sixteenth_of_the_error() -> None:
    start = waves(n=128)
    exact = solve(start, 0.1, time=1.0, steps=1600)

    coarse, fine = (np.abs(solve(start, 0.1, time=1.0, steps=steps) - exact).max() for steps in (50, 100))

    assert 12 < coarse / fine < 20


def test_each_state_has_a_viscosity_of_its_own() -> None:
    start = waves(2)

    together = solve(start, np.array([0.3, 0.01]), time=1.0, steps=100)

    for i, viscosity in enumerate((0.3, 0.01)):
        np.testing.assert_allclose(
            together[i : i + 1], solve(start[i : i + 1], viscosity, time=1.0, steps=100)
        )


def test_steps_that_are_too_long_are_refused() -> None:
    with pytest.raises(FloatingPointError, match="2 steps are too few"):
        solve(10 * waves(), 1e-4, time=5.0, steps=2)


def test_cells_keep_the_mass() -> None:
    fine = waves()

    coarse = cell_means(fine, 64)

    assert coarse.shape == (8, 64)
    np.testing.assert_allclose(coarse.mean(axis=1), fine.mean(axis=1), atol=1e-14)
    with pytest.raises(ValueError, match="512 points do not make 100 equal cells"):
        cell_means(fine, 100)


def test_waves_have_a_peak_of_one_about_their_drift() -> None:
    states = waves(64)

    drift = states.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(states - drift).max(axis=1), 1.0)
    assert np.abs(drift).max() <= 0.25
    assert drift.std() > 0.05


def test_the_data_set_is_what_the_equation_makes_of_it() -> None:
    samples, again, others = make(per_group=4, seed=7), make(per_group=4, seed=7), make(per_group=4, seed=8)

    assert samples.start.shape == samples.end.shape == (4 * len(GROUPS), CELLS)
    np.testing.assert_array_equal(samples.end, again.end)
    assert np.abs(samples.start - others.start).max() > 0.1
    assert physics.mass_gap(samples.end, samples.start).max() < 1e-12
    assert physics.energy_growth(samples.end, samples.start).max() == 0
    # The less viscous, the rougher: that is what makes a group hard.
    roughness = [np.abs(np.diff(samples.end[samples.group == i], axis=1)).max() for i in range(len(GROUPS))]
    assert roughness == sorted(roughness)
    assert sorted(name for names in TIERS.values() for name in names) == sorted(GROUPS)
