"""RULES.md, *Aggregates*: weights, columns, what is left out, and what the mean hides."""

from __future__ import annotations

import math

import pytest

from app.domain.assess import board_values, overall_value
from app.domain.evaluations import OVERALL, Bound, Stated
from app.domain.outcomes import Gate, Outcome, Rule
from app.domain.suites import shares_of, weights
from app.domain.weighing import weighted_mean
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, check_of, column, finding

TIERED = (
    {"name": "a", "tier": "easy"},
    {"name": "b", "tier": "easy"},
    {"name": "c", "tier": "hard"},
)
WEIGHTED = ({"name": "a", "weight": 1}, {"name": "b", "weight": 3})


def test_explicit_weights_come_before_frozen_shares_before_equal_ones() -> None:
    assert weights(a_suite(WEIGHTED, frozen={"a": 0.9, "b": 0.1})) == {"a": 0.25, "b": 0.75}
    assert weights(a_suite(("a", "b"), frozen={"a": 0.9, "b": 0.1})) == pytest.approx({"a": 0.9, "b": 0.1})
    assert weights(a_suite(("a", "b"))) == {"a": 0.5, "b": 0.5}
    assert weights(a_suite(())) == {}


def test_the_shares_to_freeze_are_those_of_n() -> None:
    suite = a_suite(("a", "b", "c"))
    numbers = {"a": 1.0, "b": 1.0, "c": 1.0}

    known = shares_of(an_evaluation(numbers, n={"a": 10, "b": 30, "c": 60}), suite)
    one_unknown = shares_of(an_evaluation(numbers, n={"a": 10, "b": 30, "c": None}), suite)

    assert known == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.6})
    assert one_unknown == pytest.approx({"a": 1 / 6, "b": 1 / 2, "c": 1 / 3})
    assert shares_of(an_evaluation(numbers, n=None), suite) == {}
    assert shares_of(an_evaluation(numbers, n=0), suite) == {}


def test_a_runs_own_n_never_improves_its_overall() -> None:
    suite = a_suite(frozen={"a": 0.5, "b": 0.5})
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    flattered = a_verdict(an_evaluation({"a": 0.1, "b": 1.9}, n={"a": 9999, "b": 30}), champion, suite=suite)

    assert check_of(flattered, OVERALL).candidate == pytest.approx(1.0)


def test_the_columns_of_a_metric_that_pools() -> None:
    suite = a_suite(TIERED, frozen={"a": 0.2, "b": 0.2, "c": 0.6})

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 2.0, "c": 4.0}),
        an_evaluation({"a": 1.0, "b": 1.0, "c": 8.0}),
        suite=suite,
    )

    shown = {c.name: (c.value, c.baseline, c.worsening) for c in verdict.aggregates}
    assert shown == {
        "overall": pytest.approx((3.0, 5.2, -2.2 / 5.2)),
        "tier:easy": pytest.approx((1.5, 1.0, 0.5)),
        "tier:hard": pytest.approx((4.0, 8.0, -0.5)),
        "tier-balanced": pytest.approx((2.75, 4.5, -1.75 / 4.5)),
        "macro": pytest.approx((7 / 3, 10 / 3, -0.3)),
        "worst": pytest.approx((2.0, 1.0, 1.0)),
        "geomean_ratio": pytest.approx((1.0, 1.0, 0.0)),
    }
    assert column(verdict, "worst").group == "b"


def test_root_mean_squares_pool_by_squares_but_their_macro_is_a_plain_mean() -> None:
    suite = a_suite(("a", "b"), {"rmse": None})

    verdict = a_verdict(an_evaluation({"a": 3.0, "b": 4.0}, metric="rmse"), suite=suite)

    assert column(verdict, "overall", metric="rmse").value == pytest.approx(math.sqrt(12.5))
    assert column(verdict, "macro", metric="rmse").value == pytest.approx(3.5)


def test_a_candidate_without_a_champion_has_columns_without_a_baseline() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 3.0, "c": 2.0}), suite=a_suite(TIERED))

    shown = {c.name: (c.value, c.baseline, c.worsening) for c in verdict.aggregates}
    assert shown == {
        "overall": (2.0, None, None),
        "tier:easy": (2.0, None, None),
        "tier:hard": (2.0, None, None),
        "tier-balanced": (2.0, None, None),
        "macro": (2.0, None, None),
    }


def test_a_metric_that_does_not_pool_has_macro_but_an_overall_only_when_stated() -> None:
    suite = a_suite(("a", "b"), {"nrmse": None})
    groups = {"a": 1.0, "b": 3.0}

    silent = a_verdict(
        an_evaluation(groups, metric="nrmse"), an_evaluation(groups, metric="nrmse"), suite=suite
    )
    stated = a_verdict(
        an_evaluation(groups, metric="nrmse", stated=Stated(overall={"nrmse": 5.0})),
        an_evaluation(groups, metric="nrmse", values=[a_whole(2.5, metric="nrmse")]),
        suite=suite,
    )

    assert [c.name for c in silent.aggregates] == ["macro", "worst", "geomean_ratio"]
    assert not [check for check in silent.checks if check.group == OVERALL]
    assert silent.gate is Gate.OPEN
    assert check_of(stated, OVERALL, metric="nrmse").outcome is Outcome.REGRESSED


def test_dropping_a_stated_overall_that_the_champion_has_does_not_pass() -> None:
    suite = a_suite(("a",), {"nrmse": None})
    groups = {"a": 1.0}

    verdict = a_verdict(
        an_evaluation(groups, metric="nrmse"),
        an_evaluation(groups, metric="nrmse", stated=Stated(overall={"nrmse": 1.0})),
        suite=suite,
    )

    check = check_of(verdict, OVERALL, metric="nrmse")
    assert (check.outcome, check.reason) == (Outcome.FAILED, "missing_metric")


def test_aggregates_compare_over_the_groups_that_both_sides_have_and_say_how_many() -> None:
    suite = a_suite(("a", "b", "c", "d"))
    champion = an_evaluation({"a": 1.0, "b": 1.0, "c": 1.0})
    candidate = an_evaluation({"a": 1.0, "b": 9.0, "d": 1.0}, bounds={"b": Bound.AT_LEAST})

    overall = check_of(a_verdict(candidate, champion, suite=suite), OVERALL)

    assert (overall.baseline, overall.candidate) == (1.0, 1.0)
    assert overall.detail == {
        "groups_used": 1,
        "groups_total": 4,
        "left_out": {"b": "censored", "c": "missing_group", "d": "no_baseline_value"},
    }


def test_a_group_that_the_suite_does_not_weigh_is_not_pooled() -> None:
    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0, "x": 99.0}),
        an_evaluation({"a": 1.0, "b": 1.0, "x": 1.0}),
        suite=a_suite(WEIGHTED),
    )

    overall = column(verdict, "overall")
    assert (overall.value, overall.groups_used, overall.groups_total) == (1.0, 2, 3)
    assert overall.left_out == {"x": "no_weight"}
    assert check_of(verdict, "x").outcome is Outcome.REGRESSED


def test_groups_that_a_suite_does_not_list_pool_equally_where_it_lists_none() -> None:
    verdict = a_verdict(an_evaluation({"x": 1.0, "y": 3.0}), suite=a_suite(()))

    assert column(verdict, "overall").value == 2.0


def test_when_only_bounds_are_left_the_aggregate_is_censored_and_not_missing() -> None:
    suite = a_suite(("a",))

    verdict = a_verdict(
        an_evaluation({"a": 10.0}, bounds={"a": Bound.AT_LEAST}), an_evaluation({"a": 1.0}), suite=suite
    )

    check = check_of(verdict, OVERALL)
    assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "censored", True)
    assert check_of(verdict, "a").outcome is Outcome.REGRESSED


def test_a_tier_that_the_candidate_lost_fails() -> None:
    suite = a_suite(TIERED)

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0}), an_evaluation({"a": 1.0, "b": 1.0, "c": 1.0}), suite=suite
    )

    assert check_of(verdict, "tier:hard").reason == "missing_group"
    assert check_of(verdict, "tier:easy").outcome is Outcome.PASS
    assert check_of(verdict, OVERALL).outcome is Outcome.PASS


def test_changed_weights_make_aggregates_incomparable_and_groups_stay_comparable() -> None:
    old, new = a_suite(WEIGHTED), a_suite(({"name": "a", "weight": 3}, {"name": "b", "weight": 1}), version=2)
    numbers = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(numbers, numbers, suite=new, champion_suite=old)

    overall = check_of(verdict, OVERALL)
    assert (overall.outcome, overall.reason) == (Outcome.NOT_EVALUATED, "incomparable")
    assert overall.detail["fields"] == ["weights"]
    assert check_of(verdict, "a").outcome is Outcome.PASS
    assert verdict.gate is Gate.UNDECIDED


def test_a_new_weighted_group_keeps_the_champion() -> None:
    new = a_suite(
        ({"name": "c", "weight": 4}, {"name": "a", "weight": 2}, {"name": "b", "weight": 6}), version=2
    )

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0, "c": 7.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=a_suite(WEIGHTED),
    )

    assert check_of(verdict, OVERALL).outcome is Outcome.PASS
    assert verdict.gate is Gate.OPEN


def test_a_whole_without_groups_does_not_compare_with_a_pooled_one() -> None:
    suite = a_suite(())
    whole, grouped = an_evaluation(values=[a_whole(1.0)]), an_evaluation({"a": 1.0})

    after_whole = check_of(a_verdict(grouped, whole, suite=suite), OVERALL)
    after_grouped = check_of(a_verdict(whole, grouped, suite=suite), OVERALL)

    assert [after_whole.reason, after_grouped.reason] == ["incomparable", "incomparable"]


def test_two_wholes_without_groups_compare() -> None:
    suite = a_suite(())

    verdict = a_verdict(
        an_evaluation(values=[a_whole(1.2, n=100)]), an_evaluation(values=[a_whole(1.0, n=100)]), suite=suite
    )

    assert check_of(verdict, OVERALL).outcome is Outcome.REGRESSED
    assert (verdict.judged_cells, verdict.total_cells) == (1, 1)


def test_the_standard_error_of_a_whole_is_that_of_its_groups() -> None:
    sides = [an_evaluation({"a": x, "b": x}, stderr=0.2) for x in (1.0, 1.25)]

    check = check_of(a_verdict(sides[1], sides[0]), OVERALL)

    # Each side: √(2 · (0.5 · 0.2)²) = 0.1414; 2 · √2 · 0.1414 = 0.4 > 0.25.
    assert (check.outcome, check.reason) == (Outcome.INCONCLUSIVE, "small_sample")


@pytest.mark.parametrize("squares", [False, True])
def test_a_mean_stays_within_its_numbers_even_at_the_edge_of_floats(squares: bool) -> None:
    big = weighted_mean([(1e300, 1.7e308), (1e-300, 1.7e308), (5.0, 1.7e308)], squares=squares)
    small = weighted_mean([(1.0, 5e-324), (1.0, 5e-324)], squares=squares)

    assert big == pytest.approx(1.7e308)
    assert small == 5e-324


def test_a_group_that_is_not_finite_makes_its_aggregates_so() -> None:
    verdict = a_verdict(an_evaluation({"a": 9.0, "b": math.nan}), an_evaluation({"a": 1.0, "b": 1.0}))

    assert check_of(verdict, OVERALL).reason == "non_finite"
    assert column(verdict, "worst").group == "b"
    assert math.isnan(column(verdict, "geomean_ratio").value or 0)


def test_the_geometric_mean_leaves_out_what_is_not_positive() -> None:
    suite = a_suite(("a", "b", "c"), {"nll": "lower"})

    verdict = a_verdict(
        an_evaluation({"a": 2.0, "b": -1.0, "c": 2.0}, metric="nll"),
        an_evaluation({"a": 1.0, "b": 1.0, "c": 8.0}, metric="nll"),
        suite=suite,
    )

    found = column(verdict, "geomean_ratio", metric="nll")
    assert found.value == pytest.approx(math.sqrt(2 / 4))
    assert found.left_out == {"b": "not_positive"}


def test_the_geometric_mean_of_a_higher_is_better_metric_is_better_above_one() -> None:
    suite = a_suite(("a",), {"accuracy": None})

    verdict = a_verdict(
        an_evaluation({"a": 0.9}, metric="accuracy"),
        an_evaluation({"a": 0.6}, metric="accuracy"),
        suite=suite,
    )

    found = column(verdict, "geomean_ratio", metric="accuracy")
    assert found.value == pytest.approx(1.5)
    assert found.worsening == pytest.approx(-0.5)


# Masked.


def test_overall_gain_does_not_hide_a_group_regression() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.5, "b": 1.0}), an_evaluation({"a": 1.0, "b": 10.0}))

    masked = finding(verdict, Rule.MASKED)
    assert masked is not None
    assert masked.detail == {
        "groups": ["a"],
        "aggregates": ["overall", "macro"],
        "improved": ["overall", "macro", "geomean_ratio"],
    }
    assert verdict.gate is Gate.CLOSED


def test_masked_says_which_mean_did_not_regress() -> None:
    suite = a_suite(frozen={"a": 0.99, "b": 0.01})

    verdict = a_verdict(
        an_evaluation({"a": 1.5, "b": 1.0}), an_evaluation({"a": 1.0, "b": 10.0}), suite=suite
    )

    masked = finding(verdict, Rule.MASKED)
    assert masked is not None
    assert masked.detail["aggregates"] == ["macro"]


def test_nothing_is_masked_when_every_mean_regressed_or_no_group_did() -> None:
    worse = a_verdict(an_evaluation({"a": 2.0, "b": 2.0}), an_evaluation({"a": 1.0, "b": 1.0}))
    better = a_verdict(an_evaluation({"a": 0.5, "b": 0.5}), an_evaluation({"a": 1.0, "b": 1.0}))

    assert finding(worse, Rule.MASKED) is None
    assert finding(better, Rule.MASKED) is None


def test_a_mean_that_stayed_within_its_tolerance_hides_too() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.5, "b": 0.6}), an_evaluation({"a": 1.0, "b": 1.0}))

    masked = finding(verdict, Rule.MASKED)
    assert masked is not None
    assert masked.detail["aggregates"] == ["overall", "macro"]
    assert masked.detail["improved"] == ["geomean_ratio"]


# What tables show.


def test_overall_value_is_the_servers_own_number() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "r2": None})
    evaluation = an_evaluation({"a": 1.0, "b": 3.0}, stated=Stated(overall={"mse": 0.1, "r2": 0.9}))

    pooled, stated = (overall_value(suite, evaluation, name) for name in ("mse", "r2"))

    assert pooled is not None
    assert stated is not None
    assert (pooled.value, pooled.n, pooled.bound) == (2.0, 200, Bound.EXACT)
    assert (stated.value, stated.bound) == (0.9, Bound.EXACT)
    assert overall_value(suite, evaluation, "unknown") is None
    assert overall_value(suite, an_evaluation(), "mse") is None


def test_board_values_are_every_cell_that_ranks() -> None:
    suite = a_suite(TIERED, {"mse": None, "gate": "limit"})
    evaluation = an_evaluation(
        {"c": 4.0, "a": 1.0, "b": 2.0}, bounds={"c": Bound.AT_LEAST}, values=[a_whole(3.0, metric="gate")]
    )

    cells = [(v.group, v.value, v.bound) for v in board_values(suite, evaluation)]

    assert cells == [
        ("overall", 1.5, Bound.AT_LEAST),
        ("tier:easy", 1.5, Bound.EXACT),
        ("macro", 1.5, Bound.AT_LEAST),
        ("a", 1.0, Bound.EXACT),
        ("b", 2.0, Bound.EXACT),
        ("c", 4.0, Bound.AT_LEAST),
    ]


def test_a_partial_accuracy_is_at_most_what_it_says() -> None:
    suite = a_suite(("a", "b"), {"accuracy": None})

    value = overall_value(suite, an_evaluation({"a": 0.9}, metric="accuracy"), "accuracy")

    assert value is not None
    assert value.bound is Bound.AT_MOST
