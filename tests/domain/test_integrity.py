"""RULES.md, *Integrity*: the rows that need no manifest."""

from __future__ import annotations

import math

import pytest

from app.domain.evaluations import Bound, Evaluation, Loss, Stated
from app.domain.integrity import stated_rounding
from app.domain.outcomes import Check, Gate, Outcome, Rule
from app.domain.policies import GapBand, Policy
from app.domain.suites import Suite
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, finding


def found_by(
    rule: Rule, evaluation: Evaluation, suite: Suite | None = None, policy: Policy | None = None
) -> Check | None:
    return finding(a_verdict(evaluation, suite=suite, policy=policy), rule)


def outcome_of(check: Check | None) -> tuple[Outcome, str | None, bool] | None:
    return None if check is None else (check.outcome, check.reason, check.required)


# Counts.


@pytest.mark.parametrize(
    ("n", "stated", "expected"),
    [
        pytest.param({"a": 40, "b": 60}, 100, (Outcome.PASS, None, True), id="they add up"),
        pytest.param({"a": 40, "b": 60}, 101, (Outcome.FAILED, "count_mismatch", True), id="one is missing"),
        pytest.param(
            {"a": 40, "b": None}, 100, (Outcome.NOT_EVALUATED, "n_unknown", False), id="one is unknown"
        ),
        pytest.param({"a": 40, "b": 60}, None, None, id="nothing stated, nothing to reconcile"),
    ],
)
def test_group_counts_must_add_up_to_the_stated_total(
    n: dict[str, int | None], stated: int | None, expected: object
) -> None:
    check = found_by(Rule.COUNT, an_evaluation({"a": 1.0, "b": 1.0}, n=n, stated=Stated(n=stated)))

    assert outcome_of(check) == expected


def test_a_count_mismatch_shows_both_numbers_and_closes() -> None:
    evaluation = an_evaluation({"a": 1.0, "b": 1.0}, n={"a": 40, "b": 60}, stated=Stated(n=90))

    verdict = a_verdict(evaluation, an_evaluation({"a": 1.0, "b": 1.0}))

    check = finding(verdict, Rule.COUNT)
    assert check is not None
    assert check.detail == {"stated": 90, "groups": 100}
    assert verdict.gate is Gate.CLOSED


def test_the_groups_of_the_lead_metric_are_counted_with_the_largest_n_any_metric_states() -> None:
    suite = a_suite(("a", "b", "c"), {"mse": None, "mae": None})
    evaluation = an_evaluation(
        {"a": 1.0, "b": 1.0},
        n={"a": 40, "b": None},
        values=an_evaluation(
            {"a": 1.0, "b": 1.0, "c": 1.0}, metric="mae", n={"a": 30, "b": 60, "c": 7}
        ).values,
        stated=Stated(n=100),
    )

    check = found_by(Rule.COUNT, evaluation, suite)

    assert outcome_of(check) == (Outcome.PASS, None, True)


def test_an_evaluation_without_groups_has_no_counts_to_reconcile() -> None:
    suite = a_suite((), {"mse": None})

    assert found_by(Rule.COUNT, an_evaluation(values=[a_whole(1.0, n=5)], stated=Stated(n=7)), suite) is None


# Overall.


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        pytest.param(0.70, (Outcome.PASS, None, True), id="exact"),
        pytest.param(0.707, (Outcome.PASS, None, True), id="within 1 %"),
        pytest.param(0.7072, (Outcome.FAILED, "overall_mismatch", True), id="beyond 1 %"),
        pytest.param(0.55, (Outcome.FAILED, "overall_mismatch", True), id="the plain mean"),
        pytest.param(math.nan, (Outcome.FAILED, "overall_mismatch", True), id="NaN"),
    ],
)
def test_a_stated_overall_must_be_what_the_groups_pool_to_with_the_runs_own_n(
    stated: float, expected: object
) -> None:
    evaluation = an_evaluation(
        {"a": 0.1, "b": 1.0}, n={"a": 100, "b": 200}, stated=Stated(overall={"mse": stated})
    )

    assert outcome_of(found_by(Rule.OVERALL, evaluation)) == expected


def test_the_stated_rounding_is_allowed() -> None:
    assert stated_rounding(0.48) == pytest.approx(0.005)
    assert stated_rounding(1e-5) == pytest.approx(5e-6)
    assert stated_rounding(0.0) == 0.0
    assert stated_rounding(3.0) == 0.0

    rounded = an_evaluation({"a": 0.1036, "b": 0.1036}, stated=Stated(overall={"mse": 0.1}))
    precise = an_evaluation({"a": 0.1036, "b": 0.1036}, stated=Stated(overall={"mse": 0.1001}))
    assert outcome_of(found_by(Rule.OVERALL, rounded)) == (Outcome.PASS, None, True)
    assert outcome_of(found_by(Rule.OVERALL, precise)) == (Outcome.FAILED, "overall_mismatch", True)


def test_two_standard_errors_are_allowed() -> None:
    groups, stated = {"a": 1.0, "b": 1.0}, Stated(overall={"mse": 1.0501})
    loose = an_evaluation(groups, stderr=0.05, stated=stated)
    tight = an_evaluation(groups, stderr=0.01, stated=stated)

    assert outcome_of(found_by(Rule.OVERALL, loose)) == (Outcome.PASS, None, True)
    assert outcome_of(found_by(Rule.OVERALL, tight)) == (Outcome.FAILED, "overall_mismatch", True)


def test_one_percent_is_of_the_sizes_and_not_of_a_sum_that_cancels() -> None:
    suite = a_suite(("a", "b"), {"bias": {"direction": "target", "target": 0, "pooling": "mean"}})
    evaluation = an_evaluation({"a": 1.0, "b": -1.0}, metric="bias", stated=Stated(overall={"bias": 0.0091}))

    assert outcome_of(found_by(Rule.OVERALL, evaluation, suite)) == (Outcome.PASS, None, True)


def test_root_mean_squares_pool_by_squares() -> None:
    suite = a_suite(("a", "b"), {"rmse": None})
    evaluation = an_evaluation({"a": 3.0, "b": 4.0}, metric="rmse", stated=Stated(overall={"rmse": 3.5355}))

    assert outcome_of(found_by(Rule.OVERALL, evaluation, suite)) == (Outcome.PASS, None, True)


def test_a_measured_whole_beside_groups_is_a_claim_to_reconcile() -> None:
    evaluation = an_evaluation({"a": 1.0, "b": 1.0}, values=[a_whole(0.5)])

    assert outcome_of(found_by(Rule.OVERALL, evaluation)) == (Outcome.FAILED, "overall_mismatch", True)


def test_what_cannot_be_reconciled_says_so_and_holds_nothing_up() -> None:
    stated = Stated(overall={"mse": 1.0})
    unknown = an_evaluation({"a": 1.0, "b": 1.0}, n=None, stated=stated)
    censored = an_evaluation({"a": 1.0, "b": 1.0}, bounds={"a": Bound.AT_LEAST}, stated=stated)
    diverged = an_evaluation({"a": math.nan, "b": 1.0}, stated=stated)

    reasons = [outcome_of(found_by(Rule.OVERALL, e)) for e in (unknown, censored, diverged)]

    assert reasons == [
        (Outcome.NOT_EVALUATED, "n_unknown", False),
        (Outcome.NOT_EVALUATED, "censored", False),
        (Outcome.NOT_EVALUATED, "non_finite", False),
    ]


def test_a_metric_that_does_not_pool_is_not_reconciled() -> None:
    suite = a_suite(("a",), {"r2": None})
    evaluation = an_evaluation({"a": 0.5}, metric="r2", stated=Stated(overall={"r2": 0.9}))

    assert found_by(Rule.OVERALL, evaluation, suite) is None


def test_the_suites_weights_do_not_enter_the_reconciliation() -> None:
    suite = a_suite(({"name": "a", "weight": 9}, {"name": "b", "weight": 1}))
    evaluation = an_evaluation({"a": 0.0, "b": 1.0}, stated=Stated(overall={"mse": 0.5}))

    assert outcome_of(found_by(Rule.OVERALL, evaluation, suite)) == (Outcome.PASS, None, True)


# Loss.


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        pytest.param(
            Loss(total=1.1, parts={"data": 1.0, "pde": 0.5}, weights={"data": 1.0, "pde": 0.2}),
            (Outcome.PASS, None),
            id="the weighted sum",
        ),
        pytest.param(Loss(total=1.5, parts={"data": 1.0, "pde": 0.5}), (Outcome.PASS, None), id="no weights"),
        pytest.param(
            Loss(total=0.5, parts={"data": 1.0, "pde": 0.5}),
            (Outcome.FAILED, "loss_decomposition"),
            id="only the last task",
        ),
        pytest.param(
            Loss(total=0.0, parts={"data": 0.04}),
            (Outcome.FAILED, "loss_decomposition"),
            id="a total of exactly zero",
        ),
        pytest.param(
            Loss(total=1.0, parts={"data": 1.0}, weights={"data": 1.0, "pde": 0.0}),
            (Outcome.FAILED, "loss_decomposition"),
            id="a part not recorded",
        ),
        pytest.param(
            Loss(total=1.5, parts={"data": 1.0, "pde": 0.5}, weights={"data": 1.0}),
            (Outcome.FAILED, "loss_decomposition"),
            id="a weight that was never set",
        ),
        pytest.param(
            Loss(total=math.nan, parts={"data": 1.0}),
            (Outcome.FAILED, "loss_decomposition"),
            id="a total that is NaN",
        ),
        pytest.param(
            Loss(total=1.0, parts={"data": math.inf}),
            (Outcome.FAILED, "loss_decomposition"),
            id="a part that is ∞",
        ),
        pytest.param(Loss(total=1.0, parts={"data": 0.9995}), (Outcome.PASS, None), id="within 0.1 %"),
        pytest.param(
            Loss(total=0.12, parts={"data": 0.124}), (Outcome.PASS, None), id="within the stated rounding"
        ),
        pytest.param(
            Loss(total=-2.0, parts={"nll": -2.5, "kl": 0.5}), (Outcome.PASS, None), id="negative likelihoods"
        ),
        pytest.param(
            Loss(total=0.0, parts={"a": 1e308, "b": -1e308}, weights={"a": 2.0, "b": 2.0}),
            (Outcome.PASS, None),
            id="extreme parts",
        ),
    ],
)
def test_the_parts_of_a_loss_must_add_up(loss: Loss, expected: tuple[Outcome, str | None]) -> None:
    check = found_by(Rule.LOSS_DECOMPOSITION, an_evaluation({"a": 1.0, "b": 1.0}, loss=loss))

    assert check is not None
    assert (check.outcome, check.reason) == expected
    assert check.required


@pytest.mark.parametrize(
    "loss", [Loss(), Loss(total=1.0), Loss(parts={"data": 1.0}), Loss(train=1.0, val=2.0)]
)
def test_without_a_total_and_parts_there_is_nothing_to_add_up(loss: Loss) -> None:
    assert found_by(Rule.LOSS_DECOMPOSITION, an_evaluation({"a": 1.0, "b": 1.0}, loss=loss)) is None


# Gap.


BAND = GapBand(min=0.02, max=0.08)


@pytest.mark.parametrize(
    ("band", "train", "val", "expected"),
    [
        pytest.param(
            BAND, 0.177264, 0.181483, (Outcome.FAILED, "gap_too_small", False), id="copies in training"
        ),
        pytest.param(BAND, 0.10, 0.15, (Outcome.PASS, None, False), id="inside"),
        pytest.param(BAND, 0.10, 0.12, (Outcome.PASS, None, False), id="exactly on the lower edge"),
        pytest.param(BAND, 0.10, 0.18, (Outcome.PASS, None, False), id="exactly on the upper edge"),
        pytest.param(BAND, 0.10, 0.30, (Outcome.FAILED, "gap_too_large", False), id="overfitting"),
        pytest.param(BAND, 0.20, 0.10, (Outcome.FAILED, "gap_too_small", False), id="validation better"),
        pytest.param(BAND, math.nan, 0.10, (Outcome.FAILED, "non_finite", False), id="NaN"),
        pytest.param(BAND, None, 0.10, None, id="not recorded"),
        pytest.param(None, 0.10, 9.0, None, id="no band by default"),
        pytest.param(
            GapBand(max=0.08, required=True),
            None,
            0.1,
            (Outcome.NOT_EVALUATED, "missing_loss", True),
            id="required",
        ),
        pytest.param(
            GapBand(max=0.08, required=True),
            0.1,
            0.3,
            (Outcome.FAILED, "gap_too_large", True),
            id="required, found",
        ),
        pytest.param(
            GapBand(max=0.5, relative=True), 0.1, 0.2, (Outcome.PASS, None, False), id="relative, on the edge"
        ),
        pytest.param(
            GapBand(max=0.5, relative=True),
            0.1,
            0.21,
            (Outcome.FAILED, "gap_too_large", False),
            id="relative",
        ),
        pytest.param(
            GapBand(max=0.5, relative=True),
            -2.0,
            -1.0,
            (Outcome.FAILED, "gap_too_large", False),
            id="relative, negative",
        ),
        pytest.param(
            GapBand(max=0.5, relative=True),
            0.1,
            0.0,
            (Outcome.NOT_EVALUATED, "zero_loss", False),
            id="relative to zero",
        ),
        pytest.param(BAND, -1e308, 1e308, (Outcome.FAILED, "gap_too_large", False), id="extreme"),
    ],
)
def test_the_train_val_gap_should_lie_in_the_policys_band(
    band: GapBand | None, train: float | None, val: float | None, expected: object
) -> None:
    evaluation = an_evaluation({"a": 1.0, "b": 1.0}, loss=Loss(train=train, val=val))

    assert outcome_of(found_by(Rule.GAP, evaluation, policy=Policy(gap=band))) == expected


def test_the_gap_of_a_higher_is_better_metric_points_the_other_way() -> None:
    suite = a_suite(("a",), {"accuracy": None})
    evaluation = an_evaluation({"a": 0.9}, metric="accuracy", loss=Loss(train=0.99, val=0.90))

    check = found_by(Rule.GAP, evaluation, suite, Policy(gap=BAND))

    assert check is not None
    assert check.candidate == pytest.approx(0.09)
    assert check.reason == "gap_too_large"


# Findings.


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        ({"a": 50, "b": 50}, (Outcome.PASS, None, False)),
        ({"a": 49, "b": 51}, (Outcome.FAILED, "imbalance", False)),
        ({"a": 49, "b": None}, None),
    ],
)
def test_a_group_with_more_than_half_of_the_samples_is_found(
    n: dict[str, int | None], expected: object
) -> None:
    check = found_by(Rule.IMBALANCE, an_evaluation({"a": 1.0, "b": 1.0}, n=n))

    assert outcome_of(check) == expected


def test_a_single_group_is_not_an_imbalance() -> None:
    assert found_by(Rule.IMBALANCE, an_evaluation({"a": 1.0}), a_suite(("a",))) is None


@pytest.mark.parametrize(
    ("seeded", "split_seeded", "expected"),
    [
        (True, True, (Outcome.PASS, None, False)),
        (False, True, (Outcome.FAILED, "not_reproducible", False)),
        (True, False, (Outcome.FAILED, "not_reproducible", False)),
        (None, False, (Outcome.FAILED, "not_reproducible", False)),
        (True, None, None),
        (None, None, None),
    ],
)
def test_a_run_without_a_seed_or_with_an_unseeded_split_is_found(
    seeded: bool | None, split_seeded: bool | None, expected: object
) -> None:
    evaluation = an_evaluation({"a": 1.0, "b": 1.0}, seeded=seeded, split_seeded=split_seeded)

    assert outcome_of(found_by(Rule.REPRODUCIBLE, evaluation)) == expected


@pytest.mark.parametrize(
    ("n", "found"),
    [
        pytest.param({"a": 5000, "b": 5000}, False, id="the suite's shares"),
        pytest.param({"a": 5090, "b": 4910}, False, id="less than 1 % of the whole"),
        pytest.param({"a": 5400, "b": 4600}, True, id="4 % and 8 standard errors"),
        pytest.param({"a": 54, "b": 46}, False, id="4 % but few samples"),
    ],
)
def test_shares_that_differ_from_the_suites_are_found(n: dict[str, int], found: bool) -> None:
    check = found_by(
        Rule.MIX_SHIFT, an_evaluation({"a": 1.0, "b": 1.0}, n=n), a_suite(frozen={"a": 0.5, "b": 0.5})
    )

    expected = (Outcome.FAILED, "mix_shift", False) if found else (Outcome.PASS, None, False)
    assert outcome_of(check) == expected


def test_a_suite_that_froze_nothing_has_no_mix_to_shift() -> None:
    assert found_by(Rule.MIX_SHIFT, an_evaluation({"a": 1.0, "b": 1.0}, n={"a": 10, "b": 990})) is None


def test_findings_open_and_close_nothing() -> None:
    numbers = {"a": 1.0, "b": 1.0}
    suspicious = an_evaluation(
        numbers, n={"a": 100, "b": 900}, seeded=False, split_seeded=False, loss=Loss(train=1.0, val=1.0)
    )
    suite = a_suite(frozen={"a": 0.5, "b": 0.5})

    verdict = a_verdict(suspicious, an_evaluation(numbers), suite=suite, policy=Policy(gap=BAND))

    failed = {check.rule for check in verdict.checks if check.outcome is Outcome.FAILED}
    assert failed == {Rule.GAP, Rule.IMBALANCE, Rule.REPRODUCIBLE, Rule.MIX_SHIFT}
    assert verdict.gate is Gate.OPEN
