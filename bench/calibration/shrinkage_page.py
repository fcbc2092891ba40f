"""The part of docs/calibration.md on a spread that is shrunk towards others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.calibration.series import Floats, Series
from bench.calibration.shrinkage import (
    HALVINGS,
    Trial,
    across_groups,
    across_recipes,
    halved_by,
    halved_by_dataset,
    trials,
)

_INTRODUCTION = f"""
## A spread shrunk towards others

With three seeds a spread is a rough guess. A moderated t takes what is known of other spreads for a prior. It
was fitted on one half of the series and tried on the held-back half, with one seed of the candidate: on
{HALVINGS} random halvings by model and dataset (by model for the prior across groups, which takes the spread of the
same seeds in the recipe's other datasets), and on every halving by dataset. *Strict* asks for so much
confidence that the half it was fitted on has no more false alarms than the plain rule has there. Medians over
the halvings; for what strict sees more or less than the plain rule also the range of 90 % of the halvings.

"""
_HEAD = (
    "errors of",
    "prior (degrees of freedom, spread)",
    "n",
    "false alarms: plain / shrunk / strict",
    "sees +10 %",
    "strict − plain: +5 %",
    "+10 %",
    "+20 %",
)
_CONCLUSION = """
At the same confidence the shrunk spread sees more because it alarms more often, about twice as often at n = 3:
recipes that vary much are given the spread of those that vary little. Held to the same false alarms it gains
nothing on RMSE, nothing sure from the recipe's other groups, nothing with one prior for both metrics and
nothing on accuracy with RMSE's prior; with accuracy's prior RMSE sees +5 % half as often and alarms more.

One thing it does: with a prior for accuracy alone it sees +10 % and +20 % of accuracy's error more often at
n = 3, in most halvings, and +5 % less often. Those are two datasets, in some halvings it loses nearly as much, and the
confidence that it takes lies anywhere between {low:.4f} and {high:.4f}. The held-back halves show no prior that one
could ship to be better, so the rule stays as it is ([decision 0008](decisions/0008-plain-spread.md)).
"""


def shrinkage_section(rmse: Sequence[Series], accuracy: Sequence[Series]) -> str:
    metrics = (("rmse", rmse), ("accuracy", accuracy))
    by_family = {
        (name, n): trials(halved_by(several, lambda series: series.family), across_recipes, n)
        for name, several in metrics
        for n in (3, 5)
    }
    rows = [_row(name, "its recipes", n, found) for (name, n), found in by_family.items()]
    for name, several in metrics:
        found = trials(halved_by_dataset(several), across_recipes, 3)
        rows.append(_row(name, "its recipes on other datasets", 3, found))
    for name, several in metrics:
        found = trials(halved_by(several, lambda series: series.model), across_groups, 3)
        rows.append(_row(name, "its groups", 3, found))
    both = halved_by([*rmse, *accuracy], lambda series: series.family)
    rows.append(_row("both", "one for both metrics", 3, trials(both, across_recipes, 3)))
    for (name, several), (other, others) in (metrics, metrics[::-1]):
        found = trials([(others, several)], across_recipes, 3)
        rows.append(_row(name, f"recipes' {other}", 3, found))
    confidences = [each.confidence for each in by_family["accuracy", 3]]
    low, high = np.percentile(confidences, (5, 95))
    table = [_line(_HEAD), "|---" * len(_HEAD) + "|", *rows, ""]
    return _INTRODUCTION + "\n".join(table) + _CONCLUSION.format(low=low, high=high)


def _row(errors: str, towards: str, n: int, several: Sequence[Trial]) -> str:
    plain = 100 * np.array([each.plain for each in several])
    shrunk = 100 * np.array([each.shrunk for each in several])
    strict = 100 * np.array([each.strict for each in several])
    priors = [prior for each in several for prior in each.priors]
    degrees = np.median([prior.degrees for prior in priors])
    spread = np.median([np.median(prior.relative_spread) for prior in priors])
    cells = [
        errors,
        f"{towards} ({degrees:.1f}, {100 * spread:.1f} %)",
        str(n),
        " / ".join(f"{np.median(shares[:, 0]):.2f}" for shares in (plain, shrunk, strict)) + " %",
        " / ".join(f"{np.median(shares[:, 2]):.0f}" for shares in (plain, shrunk, strict)) + " %",
        *(_range(gains) for gains in (strict - plain)[:, 1:].T),
    ]
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _range(gains: Floats) -> str:
    low, middle, high = map(_signed, np.percentile(gains, (5, 50, 95)))
    return middle if len(gains) == 1 else f"{middle} ({low} to {high})"


def _signed(points: float) -> str:
    whole = round(points)
    return "0" if whole == 0 else f"{whole:+d}".replace("-", "−")
