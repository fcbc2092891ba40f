"""False alarms and power: the rules on seeds drawn from real series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bench.calibration.rules import Draws, Flags, effect_alone, interval_alone, the_rule
from bench.calibration.series import Floats, Series

Rule: TypeAlias = Callable[[Draws, float], Flags]

RULES: dict[str, Rule] = {
    "10 % effect alone": effect_alone,
    "t interval 0.99 alone": interval_alone,
    "the rule": the_rule,
}
# Seeds of the champion's recipe and of the candidate's.
SIZES = ((3, 1), (5, 1), (5, 3), (10, 1))
# Nothing changed: what is called a regression is a false alarm. Then errors scaled up.
EFFECTS = (0.0, 0.05, 0.10, 0.20)
DRAWS_PER_SERIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often a rule says regressed, over all series; the standard error is that between families of recipes."""

    share: float
    standard_error: float


Rates: TypeAlias = dict[tuple[str, tuple[int, int]], list[Rate]]


def drawn(series: Series, n: int, k: int, draws: int, rng: np.random.Generator) -> Draws:
    """So many times n + k different seeds of one recipe."""
    order = np.argsort(rng.random((draws, len(series.errors))), axis=1)[:, : n + k]
    errors = series.errors[order]
    baseline = errors[:, :n]
    return Draws(
        n=n,
        k=k,
        mean=baseline.mean(axis=1),
        deviation=baseline.std(axis=1, ddof=1),
        candidate=errors[:, n:].mean(axis=1),
    )


def rates(several: Sequence[Series], *, seed: int = 1, draws: int = DRAWS_PER_SERIES) -> Rates:
    """By rule and size, the rate for each of EFFECTS; the same for the same seed."""
    found: Rates = {}
    for size in SIZES:
        rng = np.random.default_rng([seed, *size])
        samples = [drawn(series, *size, draws, rng) for series in several]
        for name, rule in RULES.items():
            found[name, size] = [
                _rate(several, np.array([rule(sample, effect).mean() for sample in samples]))
                for effect in EFFECTS
            ]
    return found


def _rate(several: Sequence[Series], by_series: Floats) -> Rate:
    mean = by_series.mean()
    strays: dict[tuple[str, str], float] = {}
    for series, share in zip(several, by_series, strict=True):
        strays[series.family] = strays.get(series.family, 0.0) + float(share - mean)
    families = len(strays)
    squares = sum(stray**2 for stray in strays.values())
    error = np.sqrt(squares * families / (families - 1)) / len(by_series)
    return Rate(share=float(mean), standard_error=float(error))
