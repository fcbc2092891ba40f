from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.policies import policy_from_document
from app.domain.policy import Policy, PolicyRule
from app.domain.training_limits import DEFAULT_POINTS, Breach, breach_of, limited_metrics, rules_for

TOP = PolicyRule(metric="gap", max=5.0, points=3)


def breach(
    values: list[float], rule: PolicyRule = TOP, *, before: tuple[float, ...] = (), had_met: bool = False
) -> Breach | None:
    return breach_of(rule, np.array(values), before=np.array(before, dtype=float), had_met=had_met)


def a_policy(*rules: dict[str, Any]) -> Policy:
    return policy_from_document({"rule": list(rules)})


@pytest.mark.parametrize(
    ("values", "at"),
    [
        pytest.param([6.0, 6.0, 6.0], 2, id="three in a row"),
        pytest.param([6.0, 6.0, 4.0, 6.0, 6.0], None, id="never three in a row"),
        pytest.param([5.0, 5.0, 5.0], None, id="the limit itself is allowed"),
        pytest.param([5.0 * (1 + 1e-12)] * 3, None, id="a binary fraction above is the limit itself"),
        pytest.param([1.0, 6.0, math.nan, 7.0], 3, id="what is not finite breaks it"),
        pytest.param([-math.inf] * 3, 2, id="even on the right side"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_so_many_points_in_a_row_break_a_limit(values: list[float], at: int | None) -> None:
    found = breach(values)

    assert found == (None if at is None else Breach(at=at, points=3))


def test_a_row_goes_on_from_one_batch_to_the_next() -> None:
    assert breach([6.0], before=(6.0, 6.0)) == Breach(at=0, points=3)
    assert breach([6.0], before=(6.0, 4.0)) is None


def test_a_lower_limit_is_broken_from_below() -> None:
    rule = PolicyRule(metric="acc", min=0.5, points=1)

    assert breach([0.6, 0.4], rule) == Breach(at=1, points=1)


def test_without_points_a_limit_counts_once_it_was_met() -> None:
    rule = PolicyRule(metric="gap", max=5.0)
    above = [9.0] * DEFAULT_POINTS

    assert breach([100.0, *above], rule) is None
    assert breach(above, rule, had_met=True) == Breach(at=DEFAULT_POINTS - 1, points=DEFAULT_POINTS)
    assert breach([4.0, *above], rule) == Breach(at=DEFAULT_POINTS, points=DEFAULT_POINTS)
    assert breach([math.nan] * DEFAULT_POINTS, rule) == Breach(at=DEFAULT_POINTS - 1, points=DEFAULT_POINTS)


def test_rules_of_a_suite_or_a_tier_do_not_speak_of_logged_metrics() -> None:
    policy = a_policy(
        {"metric": "gap", "max": 5.0},
        {"metric": "gap", "suite": "heights", "max": 4.0},
        {"metric": "gap", "tier": "easy", "max": 3.0},
        {"metric": "gap", "group": "k=4", "max": 2.0},
        {"metric": "gap", "each": True, "max": 1.0},
        {"metric": "gap", "rel_tol": 0.2},
        {"metric": "other", "suite": "heights", "max": 1.0},
    )

    assert [rule.max for rule in rules_for(policy, metric="gap", group=None)] == [5.0]
    assert [rule.max for rule in rules_for(policy, metric="gap", group="k=4")] == [2.0, 1.0]
    assert [rule.max for rule in rules_for(policy, metric="gap", group="k=5")] == [1.0]
    assert limited_metrics(policy) == {"gap"}


@given(
    st.lists(st.sampled_from([1.0, 9.0, math.nan, math.inf]), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
    st.integers(1, 4),
    st.booleans(),
)
def test_how_points_are_cut_into_batches_changes_nothing(
    values: list[float], cuts: list[int], points: int, explicit: bool
) -> None:
    rule = PolicyRule(metric="gap", max=5.0, points=points if explicit else None)
    tail = (points if explicit else DEFAULT_POINTS) - 1
    whole = breach(values, rule)
    found = None
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    for first, until in itertools.pairwise(edges):
        seen = values[:first]
        part = breach(
            values[first:until],
            rule,
            before=tuple(seen[-tail:] if tail else ()),
            had_met=any(value <= 5.0 for value in seen),
        )
        if part is not None:
            found = first + part.at
            break

    assert found == (None if whole is None else whole.at)
