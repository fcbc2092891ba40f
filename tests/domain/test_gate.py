"""RULES.md, *The gate*."""

from __future__ import annotations

import itertools

import pytest

from app.domain.assess import effective_gate, sentence_for_invalid
from app.domain.evaluations import Purpose, Validity
from app.domain.gate import gate_of
from app.domain.outcomes import Check, Gate, Outcome, Rule
from app.domain.policies import Policy, PolicyRule
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation

NUMBERS = {"a": 1.0, "b": 1.0}


def a_check(outcome: Outcome, *, required: bool = True) -> Check:
    return Check(rule=Rule.REGRESSION, metric="mse", group="a", outcome=outcome, required=required)


ALONE = {
    Outcome.PASS: Gate.OPEN,
    Outcome.IMPROVED: Gate.OPEN,
    Outcome.INCONCLUSIVE: Gate.UNDECIDED,
    Outcome.NOT_EVALUATED: Gate.UNDECIDED,
    Outcome.REGRESSED: Gate.CLOSED,
    Outcome.FAILED: Gate.CLOSED,
}
SEVERITY = [Gate.OPEN, Gate.UNDECIDED, Gate.CLOSED]


@pytest.mark.parametrize("outcomes", list(itertools.combinations_with_replacement(Outcome, 2)))
def test_the_worst_required_outcome_decides(outcomes: tuple[Outcome, Outcome]) -> None:
    gate = gate_of([a_check(outcome) for outcome in outcomes], lead_judged=True, valid=True)

    assert gate is max((ALONE[outcome] for outcome in outcomes), key=SEVERITY.index)


@pytest.mark.parametrize("outcome", Outcome)
def test_an_advisory_check_decides_nothing(outcome: Outcome) -> None:
    checks = [a_check(Outcome.PASS), a_check(outcome, required=False)]

    assert gate_of(checks, lead_judged=True, valid=True) is Gate.OPEN


def test_a_gate_with_nothing_judged_is_undecided_however_much_passed() -> None:
    assert gate_of([a_check(Outcome.PASS)], lead_judged=False, valid=True) is Gate.UNDECIDED
    assert gate_of([], lead_judged=False, valid=True) is Gate.UNDECIDED


def test_an_invalid_evaluation_is_closed_however_much_passed() -> None:
    assert gate_of([a_check(Outcome.PASS)], lead_judged=True, valid=False) is Gate.CLOSED


def test_when_all_groups_have_too_few_samples_nothing_was_judged() -> None:
    verdict = a_verdict(an_evaluation(NUMBERS, n=3), an_evaluation(NUMBERS))

    assert verdict.gate is Gate.UNDECIDED
    assert (verdict.judged_cells, verdict.total_cells) == (0, 2)


def test_one_judged_group_of_the_lead_metric_is_enough() -> None:
    verdict = a_verdict(an_evaluation(NUMBERS, n={"a": 3, "b": 100}), an_evaluation(NUMBERS))

    assert verdict.gate is Gate.OPEN
    assert (verdict.judged_cells, verdict.total_cells) == (1, 2)


def test_a_suite_whose_lead_metric_was_not_judged_stays_undecided_though_others_pass() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": None})
    mae = an_evaluation(NUMBERS, metric="mae").values
    few = an_evaluation(NUMBERS, n=3, values=mae)

    assert a_verdict(few, few, suite=suite).gate is Gate.UNDECIDED


def test_a_suite_without_a_primary_metric_never_opens() -> None:
    suite = a_suite(("a", "b"), {"mse": {"role": "secondary"}})

    assert a_verdict(an_evaluation(NUMBERS), an_evaluation(NUMBERS), suite=suite).gate is Gate.UNDECIDED


def test_passing_limits_alone_do_not_open() -> None:
    policy = Policy(rules=(PolicyRule(metric="mse", max=5.0),))

    assert a_verdict(an_evaluation(NUMBERS), policy=policy).gate is Gate.UNDECIDED


@pytest.mark.parametrize(
    ("run_validity", "validity", "gate"),
    [
        (Validity.VALID, Validity.VALID, Gate.OPEN),
        (Validity.SUSPECT, Validity.VALID, Gate.OPEN),
        (Validity.VALID, Validity.SUSPECT, Gate.OPEN),
        (Validity.INVALID, Validity.VALID, Gate.CLOSED),
        (Validity.VALID, Validity.INVALID, Gate.CLOSED),
    ],
)
def test_invalid_closes_and_suspect_does_not(run_validity: Validity, validity: Validity, gate: Gate) -> None:
    candidate = an_evaluation(NUMBERS, run_validity=run_validity, validity=validity)

    verdict = a_verdict(candidate, an_evaluation(NUMBERS))

    assert verdict.gate is gate
    assert effective_gate(Gate.OPEN, candidate) is gate


def test_an_invalid_verdict_says_so_and_nothing_else() -> None:
    run = an_evaluation(NUMBERS, run_validity=Validity.INVALID)
    evaluation = an_evaluation(NUMBERS, validity=Validity.INVALID)

    assert a_verdict(run, an_evaluation(NUMBERS)).sentence == sentence_for_invalid(run)
    assert sentence_for_invalid(run, "augmented before the split") == (
        "Closed: run run-6 is invalid (augmented before the split); its numbers count for nothing."
    )
    assert sentence_for_invalid(evaluation) == (
        "Closed: evaluation of run-6 is invalid; its numbers count for nothing."
    )


def test_progress_is_judged_like_a_claim() -> None:
    claim = a_verdict(an_evaluation({"a": 2.0, "b": 1.0}), an_evaluation(NUMBERS))
    progress = a_verdict(
        an_evaluation({"a": 2.0, "b": 1.0}, purpose=Purpose.PROGRESS), an_evaluation(NUMBERS)
    )

    assert progress == claim


def test_cells_count_groups_and_the_overall_of_metrics_without_groups() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}, "r2": None})
    side = an_evaluation(
        NUMBERS, values=[a_whole(1.0, metric="mae"), *an_evaluation({"a": 0.5}, metric="r2").values]
    )

    verdict = a_verdict(side, side, suite=suite)

    # mse in a and b, overall mae, r2 in a; r2 in b is on neither side.
    assert (verdict.judged_cells, verdict.total_cells) == (4, 5)
