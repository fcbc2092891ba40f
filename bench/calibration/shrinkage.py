"""Would a spread shrunk across recipes do better? A prior fitted on half of the recipes, tried on the other half.

The prior is that of the moderated t (Smyth 2004): the recipes' variances, as shares of their squared means, follow a
scaled inverse χ² whose degrees of freedom and scale come from the moments of log s².
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import digamma, polygamma

from bench.calibration.rates import EFFECTS, drawn
from bench.calibration.rules import CONFIDENCE, Draws, Prior, the_rule
from bench.calibration.series import Floats, Series

HALVINGS = 40
DRAWS_PER_SERIES = 300
_CONFIDENCES = (0.99, 0.9925, 0.995, 0.9975, 0.998, 0.9985, 0.999, 0.9995, 0.9999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Shares of regressed on the held-back half, for each of EFFECTS; shape (halvings, effects).

    Args:
        priors: Fitted on the other half, one a halving.
        plain: The rule as it is.
        shrunk: With the prior, at the same confidence.
        strict: With the prior, at the confidence that gives no more false alarms than the plain rule on the half
            that the prior was fitted on.
    """

    priors: tuple[Prior, ...]
    plain: Floats
    shrunk: Floats
    strict: Floats


def trial(several: Sequence[Series], n: int, *, seed: int = 2, halvings: int = HALVINGS) -> Trial:
    """Halve the recipes by model and dataset, so that variants of one are never on both sides."""
    rng = np.random.default_rng([seed, n])
    families = sorted({series.family for series in several})
    priors, plain, shrunk, strict = [], [], [], []
    for _ in range(halvings):
        chosen = {families[i] for i in rng.permutation(len(families))[: len(families) // 2]}
        seen = [series for series in several if series.family in chosen]
        held_back = [series for series in several if series.family not in chosen]
        prior = fitted(seen)
        seen_draws = [drawn(series, n, 1, DRAWS_PER_SERIES, rng) for series in seen]
        draws = [drawn(series, n, 1, DRAWS_PER_SERIES, rng) for series in held_back]
        alarms = _shares(seen_draws, None)[0]
        fair = (c for c in _CONFIDENCES if _shares(seen_draws, prior, c)[0] <= alarms)
        priors.append(prior)
        plain.append(_shares(draws, None))
        shrunk.append(_shares(draws, prior))
        strict.append(_shares(draws, prior, next(fair, _CONFIDENCES[-1])))
    return Trial(
        priors=tuple(priors), plain=np.array(plain), shrunk=np.array(shrunk), strict=np.array(strict)
    )


def fitted(several: Sequence[Series]) -> Prior:
    """The prior that these recipes' spreads follow."""
    relative = np.array([series.errors.std(ddof=1) / series.errors.mean() for series in several])
    degrees = np.array([len(series.errors) - 1 for series in several])
    logs = np.log(relative**2) - digamma(degrees / 2.0) + np.log(degrees / 2.0)
    excess = float(logs.var(ddof=1) - polygamma(1, degrees / 2.0).mean())
    if excess <= 0.0:
        return Prior(degrees=1e6, relative_spread=float(np.exp(logs.mean() / 2.0)))
    prior_degrees = 2.0 * _inverse_trigamma(excess)
    log_scale = logs.mean() + digamma(prior_degrees / 2.0) - np.log(prior_degrees / 2.0)
    return Prior(degrees=prior_degrees, relative_spread=float(np.exp(log_scale / 2.0)))


def _inverse_trigamma(y: float) -> float:
    """Newton's iteration on 1/trigamma, which is convex: it converges from 1/2 + 1/y for every y > 0."""
    x = 0.5 + 1.0 / y
    for _ in range(50):
        value = float(polygamma(1, x))
        step = value * (1.0 - value / y) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


def _shares(draws: Sequence[Draws], prior: Prior | None, confidence: float = CONFIDENCE) -> Floats:
    rule = partial(the_rule, prior=prior, confidence=confidence)
    return np.array([np.mean([rule(sample, effect).mean() for sample in draws]) for effect in EFFECTS])
