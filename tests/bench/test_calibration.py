"""The measured page is what the data and the rules give, and the measured rule is the one that judges."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from app.domain.metrics import Metric, resolve_metric
from app.domain.noise import judge_seeds, seeds_of
from app.domain.outcomes import Outcome
from app.domain.tolerances import Tolerances
from bench.calibration.page import distance, page
from bench.calibration.rates import EFFECTS, SIZES, Rates, rates
from bench.calibration.rules import Draws, the_rule
from bench.calibration.series import Series, load
from bench.calibration.shrinkage import across_groups, fitted, halved_by, halved_by_dataset
from bench.calibration.specified import DIGITS, SPECIFIED

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


@pytest.fixture(scope="module")
def measured() -> dict[str, Rates]:
    """With a fifth of the page's draws, and other ones."""
    return {metric: rates(load(metric), seed=11, draws=200) for metric in ("rmse", "accuracy")}


@pytest.mark.parametrize(
    ("metric", "rule", "size"), SPECIFIED, ids=lambda part: part if isinstance(part, str) else f"n,k={part}"
)
def test_the_rates_are_those_of_the_specification_within_sampling_error(
    measured: dict[str, Rates], metric: str, rule: str, size: tuple[int, int]
) -> None:
    found = measured[metric][rule, size]

    for rate, share, digits in zip(found, SPECIFIED[metric, rule, size], DIGITS, strict=True):
        assert share is None or distance(share, rate, digits) <= 3.0, (rate, share)


def test_the_rule_alarms_less_than_the_interval_and_sees_more_than_the_tolerance(
    measured: dict[str, Rates],
) -> None:
    found = measured["rmse"]

    for size in SIZES:
        alarms, five, ten, _ = (rate.share for rate in found["the rule", size])
        assert alarms < found["t interval 0.99 alone", size][0].share / 3
        assert five > 10 * found["10 % effect alone", size][1].share
        assert ten > found["10 % effect alone", size][2].share


@pytest.mark.parametrize("metric", ["rmse", "accuracy"])
def test_the_measured_rule_is_the_one_that_judges(metric: str) -> None:
    rng = np.random.default_rng(7)
    definition: Metric = resolve_metric(metric, None)
    ideal = definition.ideal or 0.0
    regressed = []
    for series, (n, k) in product(load(metric), SIZES):
        # Where the table's fields meet: about half the tolerance, about the whole, and far from either.
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
            definition,
            seeds_of(definition, [abs(ideal - error) for error in baseline]),
            seeds_of(definition, [abs(ideal - error) for error in candidate]),
            Tolerances(),
        )

        regressed.append(judged.outcome is Outcome.REGRESSED)
        assert bool(the_rule(draws, 0.0)[0]) == regressed[-1], (series, n, k)
    assert 0.2 < np.mean(regressed) < 0.8


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


def a_recipe(model: str, *spreads: float, seeds: int = 15) -> list[Series]:
    """One series a spread, each on a dataset of its own, all exactly so far from their mean."""
    unit = np.linspace(-1.0, 1.0, seeds)
    unit /= unit.std(ddof=1)
    return [
        Series(model=model, dataset=f"d{i}", variant="v", errors=1.0 + spread * unit)
        for i, spread in enumerate(spreads)
    ]


def drawn_whole(several: list[Series]) -> list[Draws]:
    return [
        Draws(
            n=len(series.errors),
            k=1,
            mean=np.array([series.errors.mean()]),
            deviation=np.array([series.errors.std(ddof=1)]),
            candidate=np.array([1.0]),
        )
        for series in several
    ]


def test_a_groups_spread_is_expected_from_the_recipes_other_groups_only() -> None:
    alike = [series for i in range(4) for series in a_recipe(f"m{i}", 0.01, 0.011, 0.009)]
    judged = [*a_recipe("a", 0.02, 0.03, 0.02), *a_recipe("alone", 0.5)]

    first, second, _, alone = across_groups(alike)(judged, drawn_whole(judged))

    assert float(np.max(first.relative_spread)) == pytest.approx(math.sqrt(0.03 * 0.02), rel=0.05)
    assert float(np.max(second.relative_spread)) == pytest.approx(0.02, rel=0.05)
    assert first.degrees > 10
    assert alone.degrees == 0


def test_how_much_few_seeds_stray_is_not_taken_for_groups_that_differ() -> None:
    rng = np.random.default_rng(5)
    alike = [
        Series(model=f"m{i}", dataset=f"d{j}", variant="v", errors=1.0 + 0.01 * rng.standard_normal(15))
        for i in range(300)
        for j in range(3)
    ]

    first, *_ = across_groups(alike)(alike, drawn_whole(alike))

    # Two other groups of 15 seeds know the spread as well as 28 degrees of freedom.
    assert first.degrees == pytest.approx(28, rel=0.3)


def test_groups_that_spread_unlike_say_little_of_each_other() -> None:
    unlike = [series for i in range(4) for series in a_recipe(f"m{i}", 0.0001, 0.01, 1.0)]

    priors = across_groups(unlike)(unlike, drawn_whole(unlike))

    assert max(prior.degrees for prior in priors) < 0.5


def test_what_is_of_one_family_or_dataset_is_never_on_both_sides_of_a_halving() -> None:
    several = load("rmse")
    by_dataset = list(halved_by_dataset(several))

    assert len(by_dataset) == 6
    for seen, held_back in by_dataset:
        assert {series.dataset for series in seen}.isdisjoint(series.dataset for series in held_back)
        assert len(seen) + len(held_back) == len(several)
    for seen, held_back in halved_by(several, lambda series: series.family):
        assert {series.family for series in seen}.isdisjoint(series.family for series in held_back)
        assert len(seen) + len(held_back) == len(several)


def test_the_page_is_what_the_data_gives() -> None:
    assert PAGE.read_text() == page()
