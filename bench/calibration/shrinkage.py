"""Would a spread shrunk towards others do better? A prior fitted on half of the recipes, tried on the other half.

The prior is that of the moderated t (Smyth 2004): variances, as shares of their squared means, follow a scaled
inverse χ² whose degrees of freedom and scale come from the moments of log s². The others are all recipes of the
half that it was fitted on, or the other groups of the recipe that is judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TypeAlias

import numpy as np
from scipy.special import digamma, polygamma

from bench.calibration.rates import EFFECTS, drawn
from bench.calibration.rules import CONFIDENCE, Draws, Prior, the_rule
from bench.calibration.series import Floats, Series

HALVINGS = 40
DRAWS_PER_SERIES = 300
# From the policy's 0.99 up, for a rule that must not alarm more often.
_CONFIDENCES = 1.0 - np.geomspace(1.0 - CONFIDENCE, 1e-6, 41)

# What to expect of the spread of each series whose seeds were drawn.
Expectation: TypeAlias = Callable[[Sequence[Series], Sequence[Draws]], list[Prior]]
Halves: TypeAlias = tuple[Sequence[Series], Sequence[Series]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Shares of regressed on the held-back half of one halving, one for each of EFFECTS.

    Args:
        priors: Of the held-back series.
        plain: The rule as it is.
        shrunk: With the prior, at the same confidence.
        strict: With the prior, at the confidence that gives no more false alarms than the plain rule on the half
            that the prior was fitted on.
        confidence: That confidence.
    """

    priors: tuple[Prior, ...]
    plain: Floats
    shrunk: Floats
    strict: Floats
    confidence: float


def trials(
    halvings: Iterable[Halves], fit: Callable[[Sequence[Series]], Expectation], n: int, *, seed: int = 3
) -> list[Trial]:
    """One trial a halving, with n seeds of the champion's recipe and one of the candidate's."""
    rng = np.random.default_rng([seed, n])
    return [_trial(seen, held_back, fit(seen), n, rng) for seen, held_back in halvings]


def halved_by(
    several: Sequence[Series], family: Callable[[Series], object], *, seed: int = 2
) -> Iterator[Halves]:
    """HALVINGS random halves; what is of one family is never on both sides."""
    rng = np.random.default_rng(seed)
    families = sorted({family(series) for series in several}, key=str)
    for _ in range(HALVINGS):
        chosen = {families[i] for i in rng.permutation(len(families))[: len(families) // 2]}
        yield _split(several, [family(series) in chosen for series in several])


def halved_by_dataset(several: Sequence[Series]) -> Iterator[Halves]:
    """Every way to fit on one half of the datasets and to try on the other."""
    datasets = sorted({series.dataset for series in several})
    for chosen in combinations(datasets, len(datasets) // 2):
        yield _split(several, [series.dataset in chosen for series in several])


def across_recipes(seen: Sequence[Series]) -> Expectation:
    """What the spreads of these recipes are, whichever is judged."""
    prior = fitted(seen)
    return lambda several, _draws: [prior] * len(several)


def across_groups(seen: Sequence[Series]) -> Expectation:
    """What the same seeds spread in the recipe's other groups; these recipes tell only how much that says."""
    excess = _excess_between_groups(seen)

    def expected(several: Sequence[Series], draws: Sequence[Draws]) -> list[Prior]:
        members = _by_recipe(several)
        logs = [_log_variance(each.deviation / each.mean, each.n - 1) for each in draws]
        found = []
        for i, series in enumerate(several):
            others = [j for j in members[series.model, series.variant] if j != i]
            if not others:
                found.append(Prior(degrees=0.0, relative_spread=0.0))
                continue
            guess = np.mean([logs[j] for j in others], axis=0)
            # Where the groups' center lies is known from these few groups and few seeds only.
            doubt = (excess + float(polygamma(1, (draws[i].n - 1) / 2.0))) / len(others)
            found.append(_prior(guess, excess + doubt))
        return found

    return expected


def fitted(several: Sequence[Series]) -> Prior:
    """The prior that these recipes' spreads follow."""
    logs, doubts = _log_variances(several)
    return _prior(logs.mean(), float(logs.var(ddof=1) - doubts.mean()))


def _trial(
    seen: Sequence[Series],
    held_back: Sequence[Series],
    expectation: Expectation,
    n: int,
    rng: np.random.Generator,
) -> Trial:
    seen_draws = [drawn(series, n, 1, DRAWS_PER_SERIES, rng) for series in seen]
    draws = [drawn(series, n, 1, DRAWS_PER_SERIES, rng) for series in held_back]
    seen_priors, priors = expectation(seen, seen_draws), expectation(held_back, draws)
    alarms = _share(seen_draws, [None] * len(seen), 0.0)
    fair = (c for c in _CONFIDENCES if _share(seen_draws, seen_priors, 0.0, c) <= alarms)
    confidence = float(next(fair, _CONFIDENCES[-1]))
    shares = partial(_shares, draws)
    return Trial(
        priors=tuple(priors),
        plain=shares([None] * len(held_back)),
        shrunk=shares(priors),
        strict=shares(priors, confidence),
        confidence=confidence,
    )


def _split(several: Sequence[Series], is_seen: Sequence[bool]) -> Halves:
    pairs = list(zip(several, is_seen, strict=True))
    return [series for series, seen in pairs if seen], [series for series, seen in pairs if not seen]


def _by_recipe(several: Sequence[Series]) -> dict[tuple[str, str], list[int]]:
    """The places of a recipe's groups, which are datasets here."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, series in enumerate(several):
        found[series.model, series.variant].append(i)
    return found


def _excess_between_groups(several: Sequence[Series]) -> float:
    """Variance of log σ² between the groups of one recipe."""
    logs, doubts = _log_variances(several)
    squares, degrees = 0.0, 0
    for places in _by_recipe(several).values():
        squares += float(((logs[places] - logs[places].mean()) ** 2).sum())
        degrees += len(places) - 1
    return squares / max(degrees, 1) - float(doubts.mean())


def _log_variances(several: Sequence[Series]) -> tuple[Floats, Floats]:
    """log σ² of each series, as shares of the squared mean, guessed without bias; and the variance of the guess."""
    relative = np.array([series.errors.std(ddof=1) / series.errors.mean() for series in several])
    degrees = np.array([len(series.errors) - 1.0 for series in several])
    doubts: Floats = polygamma(1, degrees / 2.0)
    return _log_variance(relative, degrees), doubts


def _log_variance(relative_spread: Floats, degrees: Floats | float) -> Floats:
    # Seeds that happen to agree to the last bit say "small", not "minus infinity".
    variance = np.maximum(relative_spread, 1e-9) ** 2
    guess: Floats = np.log(variance) - digamma(degrees / 2.0) + np.log(degrees / 2.0)
    return guess


def _prior(log_variance: Floats | float, excess: float) -> Prior:
    """The scaled inverse χ² whose logarithm has this mean and variance."""
    if excess <= 0.0:
        return Prior(degrees=1e6, relative_spread=np.exp(np.asarray(log_variance) / 2.0))
    degrees = 2.0 * _inverse_trigamma(excess)
    log_scale = log_variance + digamma(degrees / 2.0) - np.log(degrees / 2.0)
    return Prior(degrees=degrees, relative_spread=np.exp(np.asarray(log_scale) / 2.0))


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


def _shares(draws: Sequence[Draws], priors: Sequence[Prior | None], confidence: float = CONFIDENCE) -> Floats:
    return np.array([_share(draws, priors, effect, confidence) for effect in EFFECTS])


def _share(
    draws: Sequence[Draws], priors: Sequence[Prior | None], effect: float, confidence: float = CONFIDENCE
) -> float:
    pairs = zip(draws, priors, strict=True)
    return float(np.mean([the_rule(sample, effect, prior, confidence).mean() for sample, prior in pairs]))
