"""What a surrogate's answer must be besides close: conservative, dissipative, and of the right roughness.

Every function takes states of shape (B, N) on a periodic grid and returns one number per sample, shape (B,).
"""

from __future__ import annotations

import numpy as np

from examples.burgers.equation import Fields

# Below this share of the energy a mode is rounding, and its logarithm says nothing.
FAINT = 1e-6


def relative_error(answer: Fields, truth: Fields) -> Fields:
    """‖answer − truth‖₂ / ‖truth‖₂."""
    error: Fields = np.linalg.norm(answer - truth, axis=1) / np.linalg.norm(truth, axis=1)
    return error


def mass_gap(answer: Fields, start: Fields) -> Fields:
    """|mean(answer) − mean(start)| / rms(start): periodic Burgers neither makes nor loses mass, so 0 is right."""
    rms = np.sqrt((start**2).mean(axis=1))
    gap: Fields = np.abs(answer.mean(axis=1) - start.mean(axis=1)) / rms
    return gap


def energy_growth(answer: Fields, start: Fields) -> Fields:
    """By what share the energy ∫u²/2 has grown; 0 where it fell, as viscosity without forcing makes it."""
    growth: Fields = np.maximum((answer**2).mean(axis=1) / (start**2).mean(axis=1) - 1, 0.0)
    return growth


def spectral_error(answer: Fields, truth: Fields) -> Fields:
    """Distance of the energy spectra in decades, a mean over all wave numbers but 0: |log₁₀(E(k) / E_true(k))|."""
    energy, true_energy = _spectrum(answer), _spectrum(truth)
    floor = FAINT * true_energy.sum(axis=1, keepdims=True)
    distance: Fields = np.abs(np.log10((energy + floor) / (true_energy + floor))).mean(axis=1)
    return distance


def _spectrum(u: Fields) -> Fields:
    energy: Fields = np.abs(np.fft.rfft(u, axis=1)[:, 1:]) ** 2
    return energy
