from __future__ import annotations

import doctest
import math

import pytest

import truerun.guard
from truerun import GroupGuard
from truerun.manners import WrongCall


def test_the_example_holds() -> None:
    assert doctest.testmod(truerun.guard).failed == 0


def test_an_average_that_improves_does_not_hide_an_easy_group_that_gets_worse() -> None:
    guard = GroupGuard(threshold=0.1, patience=3, protected=["k=4,m=2"])
    stopped = []
    for step in range(1, 8):
        easy = 0.103 * (1 + 0.2 * step)
        hard = 0.9 / step
        stopped.append(guard.update(step, {"k=4,m=2": {"log2_mse": easy}, "k=7,m=5": {"log2_mse": hard}}))

    assert stopped.index(True) == 3
    assert "k=4,m=2: log2_mse" in guard.reason
    assert "% worse than its best 0.1236 (step 1)" in guard.reason


def test_patience_starts_anew_when_all_is_well() -> None:
    guard = GroupGuard(threshold=0.1, patience=2)
    values = [1.0, 1.2, 1.05, 1.2, 1.2]

    assert [guard.update(i, {"g": {"mse": value}}) for i, value in enumerate(values)] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("value", "stops"),
    [(1.1, False), (1.1 + 1e-12, False), (1.11, True), (math.nan, True), (math.inf, True), (0.5, False)],
)
def test_exactly_the_threshold_is_allowed_and_no_number_is_worse(value: float, stops: bool) -> None:
    guard = GroupGuard(threshold=0.1, patience=1)
    guard.update(0, {"g": {"mse": 1.0}})

    assert guard.update(1, {"g": {"mse": value}}) is stops


def test_a_group_that_vanishes_is_no_improvement() -> None:
    guard = GroupGuard(patience=1)
    guard.update(0, {"easy": {"mse": 1.0}, "hard": {"mse": 1.0}})

    assert guard.update(1, {"hard": {"mse": 0.1}})
    assert "easy: mse is missing" in guard.reason


def test_a_group_that_vanishes_is_no_improvement_on_a_baseline_either() -> None:
    guard = GroupGuard(patience=1, baseline={"easy": {"mse": 1.0}, "never measured": {"mse": 1.0}})
    assert not guard.update(0, {"easy": {"mse": 0.9}, "hard": {"mse": 1.0}})

    assert guard.update(1, {"hard": {"mse": 0.1}})
    assert guard.reason == "group easy: mse is missing or no number; the baseline's 1"


def test_higher_is_better_where_it_is_said_and_a_baseline_replaces_the_best() -> None:
    guard = GroupGuard(
        patience=1, higher_is_better=["acc"], baseline={"easy": {"acc": 0.9, "mse": 0.1}, "new": {}}
    )

    assert not guard.update(0, {"easy": {"acc": 0.95, "mse": 0.1}, "new": {"acc": 0.0}})
    assert guard.update(1, {"easy": {"acc": 0.7, "mse": 0.1}})
    assert guard.reason == "group easy: acc 22.2 % worse than the baseline's 0.9"


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(WrongCall, match="threshold"):
        GroupGuard(threshold=-1)
    with pytest.raises(WrongCall, match="patience"):
        GroupGuard(patience=0)
