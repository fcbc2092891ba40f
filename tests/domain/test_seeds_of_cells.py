"""Which values of a recipe's runs are seeds of a cell, and what stands in where there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from app.domain.assess import AssessmentInput, Champion, Sibling, assess
from app.domain.evaluations import Bound
from app.domain.outcomes import Outcome
from app.domain.policies import Policy
from tests.domain.builders import (
    a_suite,
    a_verdict_of_seeds,
    a_whole,
    an_evaluation,
    check_of,
    column,
    the_seeds,
)


def a_sibling_that(**differs: Any) -> list[Any]:
    """What a check says of three seeds and a fourth that differs in one respect, in a group and overall."""
    suite = a_suite(("g",))
    usable = the_seeds(suite, (1.0, 0.99, 1.01), name="theirs")
    odd_suite = a_suite(("g",), dataset="elsewhere") if differs.pop("elsewhere", False) else suite
    (odd,) = the_seeds(odd_suite, (differs.pop("value", 5.0),), name="odd", **differs)
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=an_evaluation({"g": 1.12}),
            champion=Champion(evaluation=usable[0].evaluation, suite=suite, siblings=(*usable[1:], odd)),
            policy=Policy(),
        )
    )
    return [check_of(verdict, group).detail["seeds"] for group in ("g", "overall")]


@pytest.mark.parametrize(
    "differs",
    [
        {"value": math.nan},
        {"value": math.inf},
        {"value": -5.0},
        {"bounds": {"g": Bound.AT_LEAST}},
        {"n": 29},
        {"elsewhere": True},
        {"value": {}},
    ],
    ids=["NaN", "∞", "impossible", "only a bound", "too few samples", "another dataset", "no value"],
)
def test_a_value_that_is_unusable_or_incomparable_is_no_seed(differs: dict[str, object]) -> None:
    for seeds in a_sibling_that(**differs):
        assert (seeds["baseline"], seeds["mean"]) == (3, pytest.approx(1.0))


def test_a_value_of_another_suite_version_or_of_unknown_n_is_a_seed() -> None:
    assert [seeds["baseline"] for seeds in a_sibling_that(value=1.0, n=None)] == [4, 4]


def test_an_aggregate_pools_each_seed_over_the_groups_that_both_sides_have() -> None:
    suite = a_suite([{"name": "a", "weight": 3.0}, {"name": "b", "weight": 1.0}])
    champion = [{"a": 1.0, "b": 2.0}, {"a": 1.1, "b": 2.1}, {"a": 0.9, "b": 1.9}, {"a": 1.0}]

    check = check_of(a_verdict_of_seeds(champion, [{"a": 1.0, "b": 2.0}], suite=suite), "overall")

    # The seed without group b is none of the overall.
    assert check.detail["seeds"]["baseline"] == 3
    assert check.detail["seeds"]["mean"] == pytest.approx(1.25)
    assert check.detail["seeds"]["deviation"] == pytest.approx(0.1)


def test_a_whole_that_is_measured_has_seeds_too() -> None:
    suite = a_suite(("g",), {"r2": None})
    seeds = [
        Sibling(
            evaluation=an_evaluation(values=[a_whole(x, metric="r2")], id=f"c{i}", run=f"c{i}"), suite=suite
        )
        for i, x in enumerate((0.90, 0.91, 0.89))
    ]
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=an_evaluation(values=[a_whole(0.8, metric="r2")]),
            champion=Champion(evaluation=seeds[0].evaluation, suite=suite, siblings=tuple(seeds[1:])),
            policy=Policy(),
        )
    )

    check = check_of(verdict, "overall", metric="r2")
    assert check.detail["seeds"]["baseline"] == 3
    assert check.outcome is Outcome.REGRESSED
    assert column(verdict, "overall", metric="r2").baseline == pytest.approx(0.9)


def test_a_candidate_known_only_as_a_bound_is_held_against_the_mean() -> None:
    suite = a_suite(("g",))
    theirs = the_seeds(suite, (0.5, 1.2, 1.3), name="theirs")
    bound = an_evaluation({"g": 5.0}, bounds={"g": Bound.AT_LEAST})
    inputs = AssessmentInput(
        suite=suite,
        candidate=bound,
        champion=Champion(evaluation=theirs[0].evaluation, suite=suite, siblings=theirs[1:]),
        policy=Policy(),
    )
    nearer = replace(bound, values=(replace(bound.values[0], value=1.5),))

    check = check_of(assess(inputs), "g")
    assert (check.outcome, check.notes, check.baseline) == (Outcome.REGRESSED, ("bound",), 1.0)
    # At least 1.5 might be 1.5, which noise could explain.
    assert check_of(assess(replace(inputs, candidate=nearer)), "g").reason == "censored"


def test_a_champion_known_only_as_a_bound_has_no_mean() -> None:
    suite = a_suite(("g",))
    theirs = the_seeds(suite, (1.0, 1.0, 1.0), name="theirs", bounds={"g": Bound.AT_LEAST})
    exact = the_seeds(suite, (1.0, 1.1, 0.9), name="others")
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=an_evaluation({"g": 0.5}),
            champion=Champion(evaluation=theirs[0].evaluation, suite=suite, siblings=exact),
            policy=Policy(),
        )
    )

    check = check_of(verdict, "g")
    assert (check.outcome, check.notes) == (Outcome.IMPROVED, ("bound", "single_seed"))


def test_no_run_stands_on_both_sides() -> None:
    suite = a_suite(("g",))
    crowd = the_seeds(suite, (1.0, 0.9, 1.1, 1.12, 0.9), name="seed")
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=crowd[3].evaluation,
            champion=Champion(evaluation=crowd[0].evaluation, suite=suite, siblings=crowd[1:]),
            policy=Policy(),
            siblings=(*crowd[:3], crowd[4]),
        )
    )

    check = check_of(verdict, "g")
    assert (check.baseline, check.candidate) == (pytest.approx((1.0 + 0.9 + 1.1 + 0.9) / 4), 1.12)
    assert (check.detail["seeds"]["baseline"], check.detail["seeds"]["candidate"]) == (4, 1)
    assert check.notes == ("same_recipe",)
    assert check.detail["seeds_to_add"] is None
