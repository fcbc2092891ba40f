"""docs/calibration.md, written from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.calibration.rates import DRAWS_PER_SERIES, RULES, SIZES, Rate, rates
from bench.calibration.series import Series, load
from bench.calibration.shrinkage import HALVINGS, Trial, trial

NAMES = {"rmse": "test RMSE", "accuracy": "the error of test accuracy (1 − accuracy)"}
TRIED_WITH = (3, 5, 10)

_HEAD = f"""# Calibration: how often the rule of noise errs

Written by `make calibrate` from {{series}} real series of training runs: 12 models × 6 datasets, up to 15
seeds each, those with at least 12 whose seeds differ at all (source in `bench/data/README.md`). For each
series {DRAWS_PER_SERIES:,} times, n seeds stand for the champion's recipe and k other seeds of the *same*
recipe for a candidate: what is called a regression then is a false alarm. For the power their errors are
scaled up. In brackets the standard error; it is taken between families of recipes (one model on one
dataset), since those differ far more than draws do.
"""

_MIDDLE = f"""
## A spread shrunk across recipes

With three seeds a spread is a rough guess. A moderated t takes the spreads of other recipes for a prior. It
was fitted on one half of the recipes and tried on the other half (one seed of the candidate; {HALVINGS}
random halvings by model and dataset, medians; in brackets what 90 % of the halvings gave). *Strict* asks
for so much confidence that the half it was fitted on has no more false alarms than the plain rule has
there.
"""

_TAIL = """
At the same confidence the shrunk spread sees more because it alarms more often, up to several times as
often at n = 3: recipes that vary much are given the spread of those that vary little. Held to the same
false alarms it gains nothing on RMSE; on accuracy at n = 3 it sees more of the +10 % in most halvings, less
in others, and less of the +5 %. The held-back half does not show that it is better, so the rule stays as it
is ([decision 0008](decisions/0008-plain-spread.md)).
"""


def page() -> str:
    """The whole page; the same whenever the data and the rules are."""
    loaded = {metric: load(metric) for metric in NAMES}
    parts = [_HEAD.format(series=sum(map(len, loaded.values())))]
    for metric, several in loaded.items():
        parts.append(f"\n## {NAMES[metric][0].upper()}{NAMES[metric][1:]}: {len(several)} series\n\n")
        parts.append(_rates_table(several))
    parts.append(_MIDDLE)
    for metric, several in loaded.items():
        parts.append(f"\n{NAMES[metric][0].upper()}{NAMES[metric][1:]}:\n\n")
        parts.append(_trial_table(several))
    return "".join([*parts, _TAIL])


def _rates_table(several: Sequence[Series]) -> str:
    found = rates(several)
    lines = [
        "| rule | n, k | false alarms | sees +5 % | +10 % | +20 % |",
        "|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        for size in SIZES:
            alarms, *power = found[rule, size]
            cells = [_percent(alarms, 2), *(_percent(rate, 0) for rate in power)]
            lines.append(f"| {rule} | {size[0]}, {size[1]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(rate: Rate, digits: int) -> str:
    return f"{100 * rate.share:.{digits}f} % ({100 * rate.standard_error:.{digits}f})"


def _trial_table(several: Sequence[Series]) -> str:
    lines = [
        "| spread | n | prior: degrees, spread | false alarms | sees +5 % | +10 % |",
        "|---|---|---|---|---|---|",
    ]
    for n in TRIED_WITH:
        lines += _trial_rows(n, trial(several, n))
    return "\n".join(lines) + "\n"


def _trial_rows(n: int, found: Trial) -> list[str]:
    degrees = float(np.median([prior.degrees for prior in found.priors]))
    spread = float(np.median([prior.relative_spread for prior in found.priors]))
    prior = f"{degrees:.1f}, {100 * spread:.1f} %"
    rows = []
    for name, shares, said in (
        ("plain", found.plain, "–"),
        ("shrunk", found.shrunk, prior),
        ("shrunk, strict", found.strict, prior),
    ):
        low, middle, high = (100 * np.percentile(shares, at, axis=0) for at in (5, 50, 95))
        cells = [
            f"{middle[i]:.{digits}f} % ({low[i]:.{digits}f}–{high[i]:.{digits}f})"
            for i, digits in ((0, 2), (1, 0), (2, 0))
        ]
        rows.append(f"| {name} | {n} | {said} | {' | '.join(cells)} |")
    return rows
