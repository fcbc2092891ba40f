"""docs/calibration.md, written from what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from bench.calibration.rates import DRAWS_PER_SERIES, RULES, SIZES, Rate, Rates, rates
from bench.calibration.series import load
from bench.calibration.shrinkage_page import shrinkage_section
from bench.calibration.specified import DIGITS, SERIES, SPECIFIED

NAMES = {"rmse": "test RMSE", "accuracy": "the error of test accuracy (1 − accuracy)"}

_HEAD = f"""# Calibration: how often the rule of noise errs

Written by `make calibrate` from {{series}} real series of training runs: 12 models × 6 datasets, up to 15
seeds each, those with at least 12 whose seeds differ at all (source in `bench/data/README.md`). For each
series {DRAWS_PER_SERIES:,} times, n seeds stand for the champion's recipe and k other seeds of the *same*
recipe for a candidate: what is called a regression then is a false alarm. For the power their errors are
scaled up. In brackets the standard error; it is taken between families of recipes (one model on one
dataset), since those differ far more than draws do.
"""

_BESIDE = f"""
## Beside the specification

The rules' specification was measured on more of the same repository: {SERIES["rmse"]} series of test RMSE and
{SERIES["accuracy"]} of accuracy, while the runs shipped here are those of six datasets. Specified / measured
here; the largest distance is {{farthest:.1f}} standard errors.
"""

_BARE_ACCURACY = """
Not within sampling error is one thing: of the bare 10 % effect on accuracy the specification has 0.36–0.52 % false
alarms, these runs {low:.2f}–{high:.2f} %. They are of two datasets only, and few noisy recipes make most of the
false alarms. It sees +10 % in 50–54 % there, {least:.1f}–{most:.1f} % here.
"""


def page() -> str:
    """The whole page; the same whenever the data and the rules are."""
    loaded = {metric: load(metric) for metric in NAMES}
    measured = {metric: rates(several) for metric, several in loaded.items()}
    parts = [_HEAD.format(series=sum(map(len, loaded.values())))]
    for metric, found in measured.items():
        parts.append(f"\n## {NAMES[metric][0].upper()}{NAMES[metric][1:]}: {len(loaded[metric])} series\n\n")
        parts.append(_rates_table(found))
    parts.append(_beside(measured))
    parts.append(shrinkage_section(loaded["rmse"], loaded["accuracy"]))
    return "".join(parts)


def distance(specified: float, measured: Rate, digits: int) -> float:
    """How far apart in standard errors, beyond what rounding the specified percents explains."""
    apart = abs(100 * measured.share - specified) - 0.5 * 10.0**-digits
    return max(apart, 0.0) / (100 * measured.standard_error)


def _rates_table(found: Rates) -> str:
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


def _beside(measured: Mapping[str, Rates]) -> str:
    lines = [
        "| errors of | rule | n, k | false alarms | sees +5 % | +10 % | +20 % |",
        "|---|---|---|---|---|---|---|",
    ]
    farthest = 0.0
    for (metric, rule, size), shares in SPECIFIED.items():
        cells = []
        for share, rate, digits in zip(shares, measured[metric][rule, size], DIGITS, strict=True):
            here = f"{100 * rate.share:.{digits}f} %"
            cells.append(here if share is None else f"{share:.{digits}f} / {here}")
            farthest = max(farthest, 0.0 if share is None else distance(share, rate, digits))
        lines.append(f"| {metric} | {rule} | {size[0]}, {size[1]} | {' | '.join(cells)} |")
    bare = [measured["accuracy"]["10 % effect alone", size] for size in SIZES]
    alarms, tenth = ([100 * shares[i].share for shares in bare] for i in (0, 2))
    said = _BARE_ACCURACY.format(low=min(alarms), high=max(alarms), least=min(tenth), most=max(tenth))
    return _BESIDE.format(farthest=farthest) + "\n" + "\n".join(lines) + "\n" + said
