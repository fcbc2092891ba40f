"""Every row of the table in RULES.md, *One metric, one group, against the champion*, and beside it."""

from __future__ import annotations

import math

import pytest

from app.domain.evaluations import Evaluation
from app.domain.outcomes import Gate, Outcome
from app.domain.policies import Policy
from app.domain.suites import Suite
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, check_of
from tests.domain.comparison_rows import ONE, ROWS, Row


def _sides(row: Row) -> tuple[Suite, Evaluation, Evaluation]:
    suite = a_suite(ONE, {row.metric: row.spec, "other": "limit"})
    # A limit metric keeps both evaluations and the group present whatever the row leaves out.
    before = an_evaluation(
        {} if row.before is None else {"g": row.before},
        metric=row.metric,
        n=row.n_before,
        stderr=row.stderr_before,
        bounds=row.bounds_before,
        values=an_evaluation({"g": 1.0}, metric="other").values,
    )
    after = an_evaluation(
        {} if row.after is None else {"g": row.after},
        metric=row.metric,
        n=row.n,
        stderr=row.stderr,
        bounds=row.bounds,
        values=an_evaluation({"g": 1.0}, metric="other").values,
    )
    return suite, before, after


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_cell_is_decided_by_its_row_of_the_table(row: Row) -> None:
    suite, before, after = _sides(row)

    check = check_of(a_verdict(after, before, suite=suite, policy=row.policy), "g", metric=row.metric)

    assert (check.outcome, check.reason, check.required) == (row.outcome, row.reason, row.required)
    if row.worsening is not None:
        assert check.worsening == pytest.approx(row.worsening)
    if row.notes is not None:
        assert check.notes == row.notes


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_nothing_but_a_pass_or_an_improvement_opens_the_gate(row: Row) -> None:
    suite, before, after = _sides(row)

    verdict = a_verdict(after, before, suite=suite, policy=row.policy)

    opens = row.outcome in (Outcome.PASS, Outcome.IMPROVED)
    # Two bounds leave the pooled overall without a value, so it stays undecided whatever the group says.
    censored = bool(row.bounds or row.bounds_before)
    assert (verdict.gate is Gate.OPEN) == (opens and not censored)


def test_the_champions_metric_that_the_candidate_lacks_fails_in_every_group() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": None})
    champion = an_evaluation(
        {"a": 1.0, "b": 1.0}, values=an_evaluation({"a": 2.0, "b": 2.0}, metric="mae").values
    )

    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}), champion, suite=suite)

    for group in ("a", "b", "overall"):
        check = check_of(verdict, group, metric="mae")
        assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "missing_metric", True)
    assert verdict.gate is Gate.CLOSED


def test_the_champions_group_that_the_candidate_lacks_fails() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(an_evaluation({"a": 0.5}), champion)

    check = check_of(verdict, "b")
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "missing_group", True)
    assert verdict.gate is Gate.CLOSED


def test_a_group_that_neither_side_has_is_advisory() -> None:
    suite = a_suite(("a", "b", "c"))

    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}), an_evaluation({"a": 1.0, "b": 1.0}), suite=suite)

    check = check_of(verdict, "c")
    assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "missing_group", False)
    assert verdict.gate is Gate.OPEN


def test_a_group_that_the_suite_no_longer_lists_is_not_asked_for() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(
        an_evaluation({"a": 1.0}), champion, suite=a_suite(("a",), version=2), champion_suite=a_suite()
    )

    check = check_of(verdict, "b")
    assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "incomparable", False)
    assert verdict.gate is Gate.OPEN


def test_a_suite_that_stops_listing_groups_still_asks_for_those_of_the_champion() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(
        an_evaluation({"a": 1.0}), champion, suite=a_suite((), version=2), champion_suite=a_suite()
    )

    assert check_of(verdict, "b").reason == "missing_group"
    assert verdict.gate is Gate.CLOSED


def test_without_a_champion_every_value_waits_for_one() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}))

    checks = [check_of(verdict, group) for group in ("a", "b", "overall")]
    assert {(c.outcome, c.reason, c.required) for c in checks} == {
        (Outcome.NOT_EVALUATED, "no_baseline", True)
    }
    assert verdict.gate is Gate.UNDECIDED


def test_a_value_that_is_not_finite_fails_without_a_champion_too() -> None:
    verdict = a_verdict(an_evaluation({"a": math.nan, "b": 1.0}))

    assert check_of(verdict, "a").reason == "non_finite"
    assert verdict.gate is Gate.CLOSED


@pytest.mark.parametrize("field_name", ["dataset", "dataset_version", "split", "protocol"])
def test_another_dataset_split_or_protocol_compares_nowhere(field_name: str) -> None:
    new, old = a_suite(version=2, **{field_name: "new"}), a_suite(**{field_name: "old"})

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    for group in ("a", "b", "overall"):
        check = check_of(verdict, group)
        assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "incomparable", True)
        assert check.detail["fields"] == [field_name]
    assert verdict.gate is Gate.UNDECIDED


def test_another_definition_of_a_group_makes_that_group_incomparable() -> None:
    old = a_suite(({"name": "a", "definition": "k = 4"}, "b"))
    new = a_suite(({"name": "a", "definition": "k = 5"}, "b"), version=2)

    verdict = a_verdict(
        an_evaluation({"a": 9.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    assert check_of(verdict, "a").reason == "incomparable"
    assert check_of(verdict, "a").detail["fields"] == ["definition"]
    assert check_of(verdict, "b").outcome is Outcome.PASS
    overall = check_of(verdict, "overall")
    assert overall.outcome is Outcome.PASS
    assert overall.detail == {"groups_used": 1, "groups_total": 2, "left_out": {"a": "incomparable"}}


def test_another_definition_of_a_metric_makes_that_metric_incomparable() -> None:
    old = a_suite(metrics={"mse": {"unit": "kPa"}})
    new = a_suite(metrics={"mse": {"unit": "bar"}}, version=2)

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    assert check_of(verdict, "a").detail["fields"] == ["unit"]
    assert check_of(verdict, "overall").reason == "incomparable"


def test_labels_order_roles_and_additions_keep_the_champion() -> None:
    old = a_suite(("a", "b"), {"mse": None, "mae": None})
    new = a_suite(
        ({"name": "new"}, {"name": "b", "label": "B"}, "a"),
        {"mae": {"role": "secondary"}, "mse": None, "rmse": "limit"},
        version=2,
    )
    numbers = {"a": 1.0, "b": 1.0}
    sides = an_evaluation(numbers, values=an_evaluation(numbers, metric="mae").values)

    verdict = a_verdict(sides, sides, suite=new, champion_suite=old)

    assert check_of(verdict, "a").outcome is Outcome.PASS
    assert check_of(verdict, "overall").outcome is Outcome.PASS
    assert check_of(verdict, "overall", metric="mae").outcome is Outcome.PASS
    assert verdict.gate is Gate.OPEN


def test_a_secondary_metric_is_judged_overall_only_and_advises() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}})
    good, bad = {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 5.0}

    verdict = a_verdict(
        an_evaluation(good, values=an_evaluation(bad, metric="mae").values),
        an_evaluation(good, values=an_evaluation(good, metric="mae").values),
        suite=suite,
    )

    of_mae = [check for check in verdict.checks if check.metric == "mae"]
    assert [(c.group, c.outcome, c.required) for c in of_mae] == [("overall", Outcome.REGRESSED, False)]
    assert verdict.gate is Gate.OPEN


def test_a_secondary_metrics_impossible_group_is_found_though_no_check_looks_there() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}})
    good = {"a": 1.0, "b": 1.0}

    verdict = a_verdict(
        an_evaluation(good, values=an_evaluation({"a": -0.5, "b": 3.0}, metric="mae").values),
        an_evaluation(good, values=an_evaluation(good, metric="mae").values),
        suite=suite,
    )

    check = check_of(verdict, "a", metric="mae")
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "impossible_value", False)


def test_a_limit_metric_is_never_compared() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "bc_violation": "limit"})
    numbers = {"a": 1.0, "b": 1.0}

    verdict = a_verdict(
        an_evaluation(numbers, values=[a_whole(9.0, metric="bc_violation")]),
        an_evaluation(numbers, values=[a_whole(1.0, metric="bc_violation")]),
        suite=suite,
    )

    assert not [check for check in verdict.checks if check.metric == "bc_violation"]
    assert verdict.gate is Gate.OPEN


def test_a_metric_is_not_asked_for_where_it_does_not_apply() -> None:
    suite = a_suite(("a", "b"), {"mse": {"groups": ["a"]}})

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 99.0}), an_evaluation({"a": 1.0, "b": 1.0}), suite=suite
    )

    assert [check.group for check in verdict.checks] == ["overall", "a"]
    assert verdict.gate is Gate.OPEN


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (-1e308, 1e308, Outcome.REGRESSED),
        (1e308, -1e308, Outcome.IMPROVED),
        (1.7e308, 1.7e308, Outcome.PASS),
        (1e-300, 1e308, Outcome.NOT_EVALUATED),
        (5e-324, 1e-323, Outcome.NOT_EVALUATED),
    ],
)
def test_extreme_numbers_keep_their_sign(before: float, after: float, outcome: Outcome) -> None:
    suite = a_suite(ONE, {"nll": "lower"})

    verdict = a_verdict(
        an_evaluation({"g": after}, metric="nll"), an_evaluation({"g": before}, metric="nll"), suite=suite
    )

    check = check_of(verdict, "g", metric="nll")
    assert check.outcome is outcome
    assert check.worsening is None or math.isfinite(check.worsening)
    assert check.limit is None or math.isfinite(check.limit)


def test_denormal_numbers_are_compared_when_zero_tol_lets_them() -> None:
    suite = a_suite(ONE, {"nll": "lower"})

    verdict = a_verdict(
        an_evaluation({"g": 1e-322}, metric="nll"),
        an_evaluation({"g": 5e-323}, metric="nll"),
        suite=suite,
        policy=Policy(zero_tol=0.0),
    )

    check = check_of(verdict, "g", metric="nll")
    assert check.outcome is Outcome.REGRESSED
    assert check.worsening == pytest.approx(1.0)
