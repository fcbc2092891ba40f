"""Evaluations beside each other: changes, marks, and what is not comparable."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.evaluations import Bound, Value
from app.domain.side_by_side import Side, SideRow, side_by_side
from app.domain.suites import Suite, suite_from_document


def a_suite(**says: Any) -> Suite:
    document = {
        "dataset": "heights",
        "groups": [{"name": "b", "tier": "easy"}, {"name": "a", "tier": "hard"}],
        "metrics": {"mse": {}, "accuracy": {}, "gap": "limit"},
    } | says
    return suite_from_document("val", 1, document, {"a": 0.5, "b": 0.5})


def a_side(
    values: dict[str, float],
    *,
    metric: str = "mse",
    suite: Suite | None = None,
    bounds: dict[str, Bound] | None = None,
    weights_version: int = 1,
) -> Side:
    return Side(
        suite=suite or a_suite(),
        values={
            (metric, group): Value(
                metric=metric, group=group, value=value, bound=(bounds or {}).get(group, Bound.EXACT)
            )
            for group, value in values.items()
        },
        weights_version=weights_version,
    )


def the_row(rows: tuple[SideRow, ...], group: str) -> SideRow:
    (row,) = (row for row in rows if row.group == group)
    return row


def changes(row: SideRow) -> list[float | None]:
    return [None if cell is None else cell.worsening for cell in row.cells]


def reasons(row: SideRow) -> list[str | None]:
    return [None if cell is None else cell.reason for cell in row.cells]


def marks(row: SideRow) -> list[str | None]:
    return [None if cell is None or cell.mark is None else cell.mark.value for cell in row.cells]


def test_changes_are_against_the_base_and_positive_is_worse_whatever_the_direction() -> None:
    errors = side_by_side([a_side({"a": 0.2}), a_side({"a": 0.3}), a_side({"a": 0.1})], 0)
    shares = side_by_side([a_side({"a": value}, metric="accuracy") for value in (0.8, 0.7, 0.9)], 0)

    assert changes(the_row(errors, "a")) == [None, pytest.approx(0.5), pytest.approx(-0.5)]
    assert changes(the_row(shares, "a")) == [None, pytest.approx(0.5), pytest.approx(-0.5)]
    assert marks(the_row(errors, "a")) == marks(the_row(shares, "a")) == [None, "worst", "best"]


def test_rows_come_by_metric_with_aggregates_before_groups_in_the_suites_order() -> None:
    side = a_side(
        {"a": 1.0, "b": 1.0, "stray": 1.0, "macro": 1.0, "tier:hard": 1.0, "tier:easy": 1.0, "overall": 1.0}
    )

    rows = side_by_side([side, None], 0)

    assert [row.group for row in rows] == ["overall", "macro", "tier:easy", "tier:hard", "b", "a", "stray"]
    assert all(row.cells[1] is None for row in rows)


def test_another_dataset_or_definition_is_shown_and_not_compared() -> None:
    other = a_side({"a": 0.01, "b": 0.01}, suite=a_suite(dataset="depths"))
    redefined = a_side(
        {"a": 0.01, "b": 0.3},
        suite=a_suite(
            groups=[{"name": "b", "tier": "easy"}, {"name": "a", "tier": "hard", "definition": "k>3"}]
        ),
    )

    rows = side_by_side([a_side({"a": 0.2, "b": 0.2}), other, redefined], 0)

    in_a, in_b = the_row(rows, "a"), the_row(rows, "b")
    assert reasons(in_a) == [None, "incomparable", "incomparable"]
    assert [cell.differing for cell in in_a.cells if cell] == [(), ("dataset",), ("definition",)]
    assert marks(in_a) == [None, None, None]
    assert (reasons(in_b)[2], changes(in_b)[2]) == (None, pytest.approx(0.5))


def test_aggregates_that_were_pooled_with_other_weights_are_not_compared() -> None:
    old = a_side({"overall": 0.1, "macro": 0.1, "tier:easy": 0.1, "a": 0.1}, weights_version=1)
    new = replace(old, weights_version=2)
    explicit = a_suite(groups=[{"name": "b", "weight": 1}, {"name": "a", "weight": 1}])

    rows = side_by_side([old, new], 0)
    weighed = side_by_side([replace(old, suite=explicit), replace(new, suite=explicit)], 0)

    assert {row.group: reasons(row)[1] for row in rows} == {
        "overall": "incomparable",
        "macro": None,
        "tier:easy": "incomparable",
        "a": None,
    }
    assert reasons(the_row(weighed, "overall")) == [None, None]


@pytest.mark.parametrize(
    ("base", "value", "reason"),
    [
        pytest.param(0.2, math.nan, "non_finite", id="diverged"),
        pytest.param(math.inf, 0.2, "baseline_invalid", id="the base diverged"),
        pytest.param(0.2, -0.1, "impossible_value", id="below zero"),
        pytest.param(-0.1, 0.2, "baseline_invalid", id="the base is below zero"),
        pytest.param(0.0, 0.2, "zero_baseline", id="zero"),
    ],
)
def test_what_cannot_be_compared_says_why(base: float, value: float, reason: str) -> None:
    (row,) = side_by_side([a_side({"a": base}), a_side({"a": value})], 0)

    assert (changes(row)[1], reasons(row)[1]) == (None, reason)


def test_a_bound_is_not_compared_and_gets_no_mark() -> None:
    (row,) = side_by_side(
        [a_side({"a": 0.2}), a_side({"a": 0.1}, bounds={"a": Bound.AT_LEAST}), a_side({"a": 0.3})], 0
    )

    assert (reasons(row), marks(row)) == ([None, "censored", None], ["best", None, "worst"])


def test_a_diverged_run_is_the_worst_and_an_impossible_value_is_never_the_best() -> None:
    (row,) = side_by_side([a_side({"a": value}) for value in (0.2, math.nan, 0.3, -5.0)], 0)

    assert marks(row) == ["best", "worst", None, None]


def test_equal_values_have_no_mark_and_ties_share_one() -> None:
    (same,) = side_by_side([a_side({"a": 0.2}), a_side({"a": 0.2})], 0)
    (tied,) = side_by_side([a_side({"a": value}) for value in (0.2, 0.2, 0.3)], 0)

    assert (marks(same), marks(tied)) == ([None, None], ["best", "best", "worst"])


def test_where_the_base_has_no_number_the_first_that_has_one_says_what_is_meant() -> None:
    other = a_side({"a": 0.1}, suite=a_suite(split="redrawn"))
    (row,) = side_by_side([a_side({}), a_side({"a": 0.2}), other, a_side({"a": 0.3})], 0)

    assert reasons(row) == [None, "no_baseline_value", "incomparable", "no_baseline_value"]
    assert marks(row) == [None, "best", None, "worst"]


def test_a_metric_without_direction_is_shown_and_never_ranked() -> None:
    (row,) = side_by_side([a_side({"overall": 1.0}, metric="gap"), a_side({"overall": 9.0}, metric="gap")], 0)

    assert (reasons(row), marks(row)) == (["no_direction", "no_direction"], [None, None])


_NUMBERS = st.floats() | st.sampled_from([0.0, 0.1, 1e308, 5e-324, math.inf, math.nan])


@given(st.lists(_NUMBERS, min_size=2, max_size=6), st.data())
def test_a_change_is_finite_or_has_a_reason_and_no_row_has_only_bests(
    values: list[float], data: st.DataObject
) -> None:
    base = data.draw(st.integers(0, len(values) - 1))
    metric = data.draw(st.sampled_from(["mse", "accuracy"]))

    (row,) = side_by_side([a_side({"a": value}, metric=metric) for value in values], base)

    for i, cell in enumerate(row.cells):
        assert cell is not None
        assert i == base or (cell.worsening is None) == (cell.reason is not None)
        assert cell.worsening is None or math.isfinite(cell.worsening)
        assert cell.mark != "best" or math.isfinite(cell.value.value)
    assert ("best" in marks(row)) == ("worst" in marks(row))
