"""Threshold cases of TensorFlow Model Analysis that have a counterpart here.

Its value thresholds are our limits. Its change thresholds are our tolerances where they allow some worsening; where
they demand an improvement there is no counterpart: a champion is not to be worse, and `improved` is no requirement.
"""

from __future__ import annotations

import pytest

from app.domain.outcomes import Outcome, Rule
from app.domain.policies import Combine, Policy, PolicyRule, Scope, ScopeKind
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, check_of
from tests.domain.vector_files import rows_of

CASES = {row["case"]: row for row in rows_of("tfma_metrics_validator.csv")}

DEMANDS_IMPROVEMENT = "the threshold demands an improvement; a tolerance here is never negative"
LEFT_OUT = {
    "TDistributionChangeAndThreshold": DEMANDS_IMPROVEMENT,
    "ChangeThresholdAbsoluteFail": DEMANDS_IMPROVEMENT,
    "ChangeThresholdRelativeFail": DEMANDS_IMPROVEMENT,
    "NativeDiffAbsolutePass": DEMANDS_IMPROVEMENT + " (and its metric is itself a difference)",
    "EqualPass-LB": DEMANDS_IMPROVEMENT,
    "CrossSlicePass": "no rule compares one group with another",
    "CrossSliceFail": "no rule compares one group with another",
}
DECIDED_OTHERWISE = {
    "DivByZero": "a champion at zero that is bettered is an improvement, not a division by zero",
    "UnmatchedSlice": "a limit on a group that is absent is not_evaluated, not ignored",
}
APART = {*LEFT_OUT, *DECIDED_OTHERWISE, "GetMissingSlices", "InvalidThreshold(metric missing)"}
VALUES = [case for case, row in CASES.items() if row["kind"] == "value" and case not in APART]
CHANGES = [case for case, row in CASES.items() if row["kind"] == "change" and case not in APART]


def number(text: str) -> float | None:
    return float(text) if text else None


def test_every_case_is_run_or_named_with_its_reason() -> None:
    assert len(CASES) == 24
    assert CASES.keys() == {*VALUES, *CHANGES} | APART
    assert (len(VALUES), len(CHANGES)) == (8, 5)


@pytest.mark.parametrize("case", VALUES)
def test_a_value_threshold_is_a_limit(case: str) -> None:
    row = CASES[case]
    rule = PolicyRule(metric="m", min=number(row["lower_bound"]), max=number(row["upper_bound"]))
    evaluation = an_evaluation(values=[a_whole(float(row["candidate_or_value"]), metric="m")])

    verdict = a_verdict(evaluation, suite=a_suite((), {"m": "lower"}), policy=Policy(rules=(rule,)))

    passed = check_of(verdict, "overall", metric="m", rule=Rule.LIMIT).outcome is Outcome.PASS
    assert passed == (row["expected_ok"] == "1")


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_threshold_that_allows_some_worsening_is_a_tolerance(case: str) -> None:
    row = CASES[case]
    higher = row["direction"] == "HIGHER_IS_BETTER"
    baseline = float(row["baseline"])
    absolute, relative = (
        None if (threshold := number(row[name])) is None else (-threshold if higher else threshold)
        for name in ("abs_threshold", "rel_threshold")
    )
    # Its absolute and relative thresholds must both hold: one exceeded is enough to fail.
    policy = Policy(rel_tol=relative, abs_tol=absolute, combine=Combine.ANY)
    candidate = an_evaluation(values=[a_whole(baseline + float(row["diff"]), metric="m")])

    verdict = a_verdict(
        candidate,
        an_evaluation(values=[a_whole(baseline, metric="m")]),
        suite=a_suite((), {"m": "higher" if higher else "lower"}),
        policy=policy,
    )

    passed = check_of(verdict, "overall", metric="m").outcome in (Outcome.PASS, Outcome.IMPROVED)
    assert passed == (row["expected_ok"] == "1")


def test_a_threshold_on_a_metric_that_is_not_there_does_not_pass() -> None:
    assert CASES["InvalidThreshold(metric missing)"]["expected_ok"] == "0"
    rule = PolicyRule(metric="invalid", min=0.2)

    verdict = a_verdict(an_evaluation({"a": 1.0}), policy=Policy(rules=(rule,)))

    check = check_of(verdict, "overall", metric="invalid", rule=Rule.LIMIT)
    assert (check.outcome, check.reason) == (Outcome.NOT_EVALUATED, "missing_metric")


def test_missing_slices_do_not_pass() -> None:
    assert CASES["GetMissingSlices"]["expected_ok"] == "0"
    rule = PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.EACH), max=1.0)

    verdict = a_verdict(an_evaluation({"v1": 0.0}), suite=a_suite(("v1", "v2")), policy=Policy(rules=(rule,)))

    assert check_of(verdict, "v1", rule=Rule.LIMIT).outcome is Outcome.PASS
    assert check_of(verdict, "v2", rule=Rule.LIMIT).outcome is Outcome.NOT_EVALUATED


def test_division_by_zero_is_decided_otherwise() -> None:
    row = CASES["DivByZero"]
    baseline = float(row["baseline"])

    verdict = a_verdict(
        an_evaluation(values=[a_whole(baseline + float(row["diff"]), metric="m")]),
        an_evaluation(values=[a_whole(baseline, metric="m")]),
        suite=a_suite((), {"m": "higher"}),
    )

    assert row["expected_ok"] == "0"
    assert check_of(verdict, "overall", metric="m").outcome is Outcome.IMPROVED


def test_a_threshold_bound_to_another_slice_is_decided_otherwise() -> None:
    assert CASES["UnmatchedSlice"]["expected_ok"] == "1"
    rule = PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.GROUP, name="other"), max=1.0)

    verdict = a_verdict(an_evaluation({"a": 1.5}), suite=a_suite(("a",)), policy=Policy(rules=(rule,)))

    limits = [check for check in verdict.checks if check.rule is Rule.LIMIT]
    assert [(c.group, c.outcome) for c in limits] == [("other", Outcome.NOT_EVALUATED)]
