"""The measured page is what the data and the rules give, and the measured rule is the one that judges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from app.domain.metrics import Metric, resolve_metric
from app.domain.noise import judge_seeds, seeds_of
from app.domain.outcomes import Outcome
from app.domain.tolerances import Tolerances
from bench.calibration.page import page
from bench.calibration.rates import EFFECTS, SIZES, rates
from bench.calibration.rules import Draws, the_rule
from bench.calibration.series import Series, load
from bench.calibration.shrinkage import fitted

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"
# Shares in percent for each of EFFECTS as the rules' specification gives them, by (n, k).
SPECIFIED = {
    "rmse": {
        (3, 1): (0.18, 37, 87, 97),
        (5, 1): (0.18, 45, 96, 99),
        (5, 3): (0.12, 50, 98, 99),
        (10, 1): (0.23, 47, 98, 99),
    },
    "accuracy": {
        (3, 1): (0.18, None, 66, None),
        (5, 1): (0.26, None, 89, None),
        (5, 3): (0.20, None, 97, None),
        (10, 1): (0.31, None, 95, None),
    },
}


@pytest.mark.parametrize("metric", ["rmse", "accuracy"])
def test_the_rates_are_those_of_the_specification_within_sampling_error(metric: str) -> None:
    found = rates(load(metric), draws=200)

    for size, specified in SPECIFIED[metric].items():
        for rate, expected in zip(found["the rule", size], specified, strict=True):
            if expected is not None:
                # Three standard errors of the difference; the specification was measured on as many recipes or more,
                # and gives whole percents.
                reach = 3 * math.sqrt(2) * 100 * rate.standard_error + 0.5
                assert abs(100 * rate.share - expected) <= reach, (size, rate, expected)


def test_the_rule_alarms_less_than_the_interval_and_sees_more_than_the_tolerance() -> None:
    found = rates(load("rmse"), draws=200)

    for size in SIZES:
        alarms, five, ten, _ = (rate.share for rate in found["the rule", size])
        assert alarms < found["t interval 0.99 alone", size][0].share / 3
        assert five > 10 * found["10 % effect alone", size][1].share
        assert ten > found["10 % effect alone", size][2].share


@pytest.mark.parametrize("metric", ["rmse", "accuracy"])
def test_the_measured_rule_is_the_one_that_judges(metric: str) -> None:
    rng = np.random.default_rng(7)
    # As errors both are judged alike: lower is better and 0 perfect.
    error: Metric = resolve_metric("rmse", None)
    for series in load(metric)[::5]:
        n, k = SIZES[int(rng.integers(len(SIZES)))]
        effect = float(rng.choice(EFFECTS)) + float(rng.normal(0, 0.02))
        errors = rng.permutation(series.errors)[: n + k]
        baseline, candidate = errors[:n], errors[n:] * (1 + effect)
        draws = Draws(
            n=n,
            k=k,
            mean=np.array([baseline.mean()]),
            deviation=np.array([baseline.std(ddof=1)]),
            candidate=np.array([candidate.mean()]),
        )

        judged = judge_seeds(
            error, seeds_of(error, list(baseline)), seeds_of(error, list(candidate)), Tolerances()
        )

        assert bool(the_rule(draws, 0.0)[0]) == (judged.outcome is Outcome.REGRESSED)


def test_without_any_spread_the_tolerance_alone_decides() -> None:
    draws = Draws(
        n=3,
        k=1,
        mean=np.array([1.0, 1.0]),
        deviation=np.array([0.0, 0.0]),
        candidate=np.array([1.09, 1.11]),
    )

    assert the_rule(draws, 0.0).tolist() == [False, True]


def test_a_prior_is_found_again_in_what_was_drawn_from_it() -> None:
    rng = np.random.default_rng(3)
    degrees, spread = 6.0, 0.05
    several = []
    for i in range(3000):
        deviation = spread * math.sqrt(degrees / rng.chisquare(degrees))
        errors = 1.0 + deviation * rng.standard_normal(15)
        several.append(Series(model=f"m{i}", dataset="d", variant="v", errors=errors))

    prior = fitted(several)

    assert prior.degrees == pytest.approx(degrees, rel=0.15)
    assert prior.relative_spread == pytest.approx(spread, rel=0.05)


def test_the_page_is_what_the_data_gives() -> None:
    assert PAGE.read_text() == page()
