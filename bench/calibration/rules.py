"""The rules that are compared, on many draws at once.

`the_rule` is app/domain/noise.py for a metric whose ideal is 0; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from app.domain.policies import Policy
from app.domain.scaling import SLACK
from bench.calibration.series import Floats

Flags: TypeAlias = NDArray[np.bool_]
_POLICY = Policy()
REL_TOL = _POLICY.rel_tol or 0.0
CONFIDENCE = _POLICY.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Baselines of n seeds and candidates of k; each array of shape (draws,).

    Args:
        mean, deviation: Of the baseline's n seeds.
        candidate: Mean of the candidate's k seeds.
    """

    n: int
    k: int
    mean: Floats
    deviation: Floats
    candidate: Floats

    @property
    def has_no_spread(self) -> Flags:
        return self.deviation <= SLACK * np.abs(self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What other recipes say of a spread before one has seen it (Smyth 2004, *limma*).

    Args:
        degrees: Weight, in degrees of freedom; 0 for no prior.
        relative_spread: Deviation as a share of the mean; one for all draws, or one each.
    """

    degrees: float
    relative_spread: Floats | float


def effect_alone(draws: Draws, effect: float) -> Flags:
    """Worse than the tolerance."""
    return _beyond(draws, effect, REL_TOL * draws.mean)


def interval_alone(draws: Draws, effect: float) -> Flags:
    """Beyond the one-sided t interval."""
    return _beyond(draws, effect, _half_width(draws, None, CONFIDENCE))


def the_rule(
    draws: Draws, effect: float, prior: Prior | None = None, confidence: float = CONFIDENCE
) -> Flags:
    """Worse than half the tolerance and beyond the noise; the tolerance alone where there is no spread."""
    by_noise = _beyond(draws, effect, REL_TOL / 2.0 * draws.mean) & _beyond(
        draws, effect, _half_width(draws, prior, confidence)
    )
    return np.where(draws.has_no_spread, effect_alone(draws, effect), by_noise)


def _half_width(draws: Draws, prior: Prior | None, confidence: float) -> Floats:
    """t · s · √(1/k + 1/n), with s and its degrees of freedom shrunk towards the prior."""
    degrees, variance = float(draws.n - 1), draws.deviation**2
    if prior is not None and prior.degrees > 0.0:
        expected = (prior.relative_spread * draws.mean) ** 2
        variance = (prior.degrees * expected + degrees * variance) / (prior.degrees + degrees)
        degrees += prior.degrees
    half: Floats = stdtrit(degrees, confidence) * np.sqrt(variance * (1.0 / draws.k + 1.0 / draws.n))
    return half


def _beyond(draws: Draws, effect: float, limit: Floats) -> Flags:
    """Errors scaled by 1 + effect, compared with the slack of every comparison."""
    candidate = draws.candidate * (1.0 + effect)
    size = np.maximum(np.maximum(np.abs(draws.mean), np.abs(candidate)), limit)
    flags: Flags = candidate - draws.mean - limit > SLACK * size
    return flags
