"""RULES.md, *Limits*: every scope and every case, and limits that contradict each other."""

from __future__ import annotations

import math

import pytest

from app.domain.evaluations import Bound, Evaluation
from app.domain.outcomes import Gate, Outcome, Rule
from app.domain.policies import (
    Policy,
    PolicyRule,
    Scope,
    ScopeKind,
    Severity,
    contradictions,
    policy_from_toml,
    template,
)
from app.domain.suites import Suite
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, check_of

TIERED = (
    {"name": "a", "tier": "easy"},
    {"name": "b", "tier": "easy"},
    {"name": "c", "tier": "hard"},
)
OVERALL = Scope(kind=ScopeKind.OVERALL)
EASY = Scope(kind=ScopeKind.TIER, name="easy")
EACH = Scope(kind=ScopeKind.EACH)
EACH_EASY = Scope(kind=ScopeKind.EACH, name="easy")


def a_limit(metric: str = "mse", scope: Scope | None = None, **more: object) -> PolicyRule:
    return PolicyRule(metric=metric, scope=scope, **more)


def limits_of(
    evaluation: Evaluation, *rules: PolicyRule, suite: Suite | None = None
) -> dict[str, tuple[Outcome, str | None]]:
    verdict = a_verdict(evaluation, suite=suite or a_suite(TIERED), policy=Policy(rules=rules))
    return {c.group or "": (c.outcome, c.reason) for c in verdict.checks if c.rule is Rule.LIMIT}


@pytest.mark.parametrize(
    ("value", "limit", "outcome", "reason"),
    [
        pytest.param(5.0, {"max": 5.0}, Outcome.PASS, None, id="a maximum is inclusive"),
        pytest.param(0.1 + 0.2, {"max": 0.3}, Outcome.PASS, None, id="in floats too"),
        pytest.param(5.001, {"max": 5.0}, Outcome.FAILED, "above_max", id="above the maximum"),
        pytest.param(1.0, {"min": 1.0}, Outcome.PASS, None, id="a minimum is inclusive"),
        pytest.param(0.999, {"min": 1.0}, Outcome.FAILED, "below_min", id="below the minimum"),
        pytest.param(0.5, {"min": 0.2, "max": 0.7}, Outcome.PASS, None, id="within a range"),
        pytest.param(0.1, {"min": 0.2, "max": 0.7}, Outcome.FAILED, "below_min", id="below a range"),
        pytest.param(0.0, {"max": 0.0}, Outcome.PASS, None, id="zero is at a limit of zero"),
        pytest.param(math.nan, {"max": 5.0}, Outcome.FAILED, "non_finite", id="NaN"),
        pytest.param(
            -math.inf, {"max": 5.0}, Outcome.FAILED, "non_finite", id="-∞ is below any maximum and fails"
        ),
        pytest.param(1e308, {"max": -1e308}, Outcome.FAILED, "above_max", id="extreme numbers"),
    ],
)
def test_a_limit_on_a_measured_whole(
    value: float, limit: dict[str, float], outcome: Outcome, reason: str | None
) -> None:
    suite = a_suite(("a",), {"mse": None, "gap": "limit"})
    evaluation = an_evaluation({"a": 1.0}, values=[a_whole(value, metric="gap")])

    found = limits_of(evaluation, a_limit("gap", **limit), suite=suite)

    assert found == {"overall": (outcome, reason)}


@pytest.mark.parametrize(
    ("bound", "value", "limit", "outcome", "reason"),
    [
        (Bound.AT_LEAST, 10.0, {"max": 5.0}, Outcome.FAILED, "above_max"),
        (Bound.AT_LEAST, 3.0, {"max": 5.0}, Outcome.NOT_EVALUATED, "censored"),
        (Bound.AT_MOST, 3.0, {"max": 5.0}, Outcome.PASS, None),
        (Bound.AT_MOST, 10.0, {"max": 5.0}, Outcome.NOT_EVALUATED, "censored"),
        (Bound.AT_LEAST, 10.0, {"min": 5.0}, Outcome.PASS, None),
        (Bound.AT_LEAST, 3.0, {"min": 5.0}, Outcome.NOT_EVALUATED, "censored"),
        (Bound.AT_MOST, 3.0, {"min": 5.0}, Outcome.FAILED, "below_min"),
        (Bound.AT_MOST, 10.0, {"min": 5.0}, Outcome.NOT_EVALUATED, "censored"),
        (Bound.AT_LEAST, 3.0, {"min": 2.0, "max": 5.0}, Outcome.NOT_EVALUATED, "censored"),
        (Bound.AT_MOST, 3.0, {"min": 2.0, "max": 5.0}, Outcome.NOT_EVALUATED, "censored"),
    ],
)
def test_a_value_that_is_only_a_bound_decides_where_the_bound_decides(
    bound: Bound, value: float, limit: dict[str, float], outcome: Outcome, reason: str | None
) -> None:
    suite = a_suite(("a",), {"mse": None, "gap": "limit"})
    evaluation = an_evaluation({"a": 1.0}, values=[a_whole(value, metric="gap", bound=bound)])

    assert limits_of(evaluation, a_limit("gap", **limit), suite=suite) == {"overall": (outcome, reason)}


def test_scopes_speak_of_overall_tier_each_and_one_group() -> None:
    evaluation = an_evaluation({"a": 0.1, "b": 0.3, "c": 0.9})
    one = Scope(kind=ScopeKind.GROUP, name="c")

    passed, failed = (Outcome.PASS, None), (Outcome.FAILED, "above_max")
    assert limits_of(evaluation, a_limit(max=0.44)) == {"overall": passed}
    assert limits_of(evaluation, a_limit(scope=OVERALL, max=0.43)) == {"overall": failed}
    assert limits_of(evaluation, a_limit(scope=EASY, max=0.2)) == {"tier:easy": passed}
    assert limits_of(evaluation, a_limit(scope=EACH, max=0.2)) == {"a": passed, "b": failed, "c": failed}
    assert limits_of(evaluation, a_limit(scope=EACH_EASY, max=0.2)) == {"a": passed, "b": failed}
    assert limits_of(evaluation, a_limit(scope=one, max=0.2)) == {"c": failed}


@pytest.mark.parametrize(
    ("rule", "group"),
    [
        (a_limit("bc_violation", max=1.0), "overall"),
        (a_limit("bc_violation", EASY, max=1.0), "tier:easy"),
        (a_limit("bc_violation", EACH_EASY, max=1.0), "tier:easy"),
        (a_limit("bc_violation", Scope(kind=ScopeKind.GROUP, name="a"), max=1.0), "a"),
    ],
)
def test_absent_is_never_zero(rule: PolicyRule, group: str) -> None:
    verdict = a_verdict(an_evaluation({"a": 0.1}), suite=a_suite(TIERED), policy=Policy(rules=(rule,)))

    check = check_of(verdict, group, metric="bc_violation", rule=Rule.LIMIT)
    assert (check.outcome, check.reason, check.candidate) == (Outcome.NOT_EVALUATED, "missing_metric", None)
    assert verdict.gate is not Gate.OPEN


def test_a_missing_required_limit_holds_a_gate_that_would_open() -> None:
    numbers = an_evaluation({"a": 1.0, "b": 1.0})
    rule = a_limit("bc_violation", max=1.0)

    assert a_verdict(numbers, numbers).gate is Gate.OPEN
    assert a_verdict(numbers, numbers, policy=Policy(rules=(rule,))).gate is Gate.UNDECIDED


def test_each_asks_for_every_group_that_the_suite_lists() -> None:
    found = limits_of(an_evaluation({"a": 0.1, "b": 0.1}), a_limit(scope=EACH, max=1.0))

    assert found["c"] == (Outcome.NOT_EVALUATED, "missing_metric")


def test_a_whole_that_lacks_a_group_is_not_the_whole() -> None:
    missing = an_evaluation({"a": 0.1, "b": 0.1})
    censored = an_evaluation({"a": 0.1, "b": 0.1, "c": 10.0}, bounds={"c": Bound.AT_LEAST})

    assert limits_of(missing, a_limit(max=1.0)) == {"overall": (Outcome.NOT_EVALUATED, "missing_group")}
    assert limits_of(censored, a_limit(max=1.0)) == {"overall": (Outcome.NOT_EVALUATED, "censored")}
    bounds_only = an_evaluation({"c": 10.0}, bounds={"c": Bound.AT_LEAST})
    hard = Scope(kind=ScopeKind.TIER, name="hard")
    assert limits_of(bounds_only, a_limit(scope=hard, max=1.0)) == {
        "tier:hard": (Outcome.NOT_EVALUATED, "censored")
    }
    assert limits_of(censored, a_limit(scope=EASY, max=1.0)) == {"tier:easy": (Outcome.PASS, None)}


def test_a_metric_that_does_not_pool_has_an_overall_only_when_stated() -> None:
    suite = a_suite(("a",), {"nrmse": None})
    groups_only = an_evaluation({"a": 0.1}, metric="nrmse")
    stated = an_evaluation({"a": 0.1}, metric="nrmse", values=[a_whole(0.3, metric="nrmse")])

    unknown, known = (
        limits_of(evaluation, a_limit("nrmse", max=0.2), suite=suite) for evaluation in (groups_only, stated)
    )
    assert unknown == {"overall": (Outcome.NOT_EVALUATED, "missing_metric")}
    assert known == {"overall": (Outcome.FAILED, "above_max")}


def test_severity_warn_advises_and_fail_requires_unless_the_rule_says_otherwise() -> None:
    numbers = an_evaluation({"a": 1.0, "b": 1.0})
    rules = (
        a_limit(max=0.5),
        a_limit(max=0.5, severity=Severity.WARN),
        a_limit(max=0.5, severity=Severity.WARN, required=True),
        a_limit(max=0.5, required=False),
    )

    verdict = a_verdict(numbers, policy=Policy(rules=rules))

    assert [c.required for c in verdict.checks if c.rule is Rule.LIMIT] == [True, False, True, False]


def test_a_limit_in_another_unit_is_not_compared() -> None:
    suite = a_suite(("a",), {"mse": {"unit": "kPa"}})
    evaluation = an_evaluation({"a": 0.1})

    other = limits_of(evaluation, a_limit(max=1.0, unit="bar"), suite=suite)
    same = limits_of(evaluation, a_limit(max=1.0, unit="kPa"), suite=suite)

    assert other == {"overall": (Outcome.NOT_EVALUATED, "incomparable")}
    assert same == {"overall": (Outcome.PASS, None)}


def test_a_limit_does_not_pass_an_impossible_value() -> None:
    suite = a_suite(("a",), {"nll": "lower", "mse": "limit"})
    evaluation = an_evaluation({"a": 1.0}, metric="nll", values=[a_whole(-3.0)])

    assert limits_of(evaluation, a_limit(max=1.0), suite=suite) == {
        "overall": (Outcome.FAILED, "impossible_value")
    }


def test_a_limit_of_another_suite_does_not_apply() -> None:
    assert limits_of(an_evaluation({"a": 9.0}), a_limit(max=1.0, suite="other")) == {}


def test_the_pde_template_holds_physics_at_its_limits() -> None:
    metrics = {
        "nrmse": None,
        "conservation_gap": "limit",
        "bc_violation": "limit",
        "negativity_penalty": "limit",
    }
    suite = a_suite((), metrics)
    physics = {"conservation_gap": 5.0, "bc_violation": 1.01}
    evaluation = an_evaluation(
        values=[a_whole(0.1, metric="nrmse"), *(a_whole(x, metric=m) for m, x in physics.items())]
    )

    verdict = a_verdict(evaluation, suite=suite, policy=policy_from_toml(template("pde")))

    found = {c.metric: (c.outcome, c.limit) for c in verdict.checks if c.rule is Rule.LIMIT}
    assert found == {
        "conservation_gap": (Outcome.PASS, 5.0),
        "bc_violation": (Outcome.FAILED, 1.0),
        "negativity_penalty": (Outcome.NOT_EVALUATED, 0.5),
    }


# Contradictions.

THREE_TIERS = tuple({"name": t[0], "tier": t} for t in ("easy", "medium", "hard"))
MEDIUM, HARD = Scope(kind=ScopeKind.TIER, name="medium"), Scope(kind=ScopeKind.TIER, name="hard")


def test_lower_limits_on_tiers_contradict_a_lower_overall_and_the_arithmetic_is_shown() -> None:
    rules = (a_limit(scope=MEDIUM, min=0.20), a_limit(scope=HARD, min=0.70), a_limit(max=0.28))

    found = contradictions(Policy(rules=rules), a_suite(THREE_TIERS))

    assert found == (
        (
            "suite, mse: 33.3 % · (easy ≥ 0) + 33.3 % · (medium ≥ 0.2) + 33.3 % · (hard ≥ 0.7) "
            "give overall ≥ 0.3, above its limit 0.28"
        ),
    )


def test_limits_that_can_be_met_at_once_draw_no_warning() -> None:
    rules = (a_limit(scope=MEDIUM, min=0.20), a_limit(scope=HARD, min=0.70), a_limit(max=0.30))

    assert contradictions(Policy(rules=rules), a_suite(THREE_TIERS)) == ()


def test_a_metric_without_an_ideal_leaves_a_tier_open_below() -> None:
    rules = (a_limit("nll", MEDIUM, min=0.2), a_limit("nll", HARD, min=0.7), a_limit("nll", max=0.28))
    suite = a_suite(THREE_TIERS, {"nll": {"direction": "lower", "pooling": "mean"}})

    assert contradictions(Policy(rules=rules), suite) == ()


def test_group_limits_contradict_their_tier() -> None:
    rules = (a_limit(scope=EACH_EASY, min=0.5), a_limit(scope=EASY, max=0.3))

    found = contradictions(Policy(rules=rules), a_suite(TIERED))

    assert len(found) == 1
    assert "give tier:easy ≥ 0.5, above its limit 0.3" in found[0]


def test_upper_limits_contradict_a_higher_overall_upside_down() -> None:
    suite = a_suite(THREE_TIERS, {"accuracy": None})
    rules = (a_limit("accuracy", HARD, max=0.4), a_limit("accuracy", min=0.9))

    found = contradictions(Policy(rules=rules), suite)

    assert len(found) == 1
    assert "give overall ≤ 0.8, below its limit 0.9" in found[0]


def test_two_rules_for_one_scope_can_cross() -> None:
    rules = (a_limit(scope=EASY, min=0.5), a_limit(scope=EASY, max=0.3))

    assert contradictions(Policy(rules=rules), a_suite(TIERED)) == (
        "suite, mse: tier:easy must be ≥ 0.5 and ≤ 0.3 at once",
    )


def test_root_mean_squares_contradict_by_their_squares() -> None:
    suite = a_suite(({"name": "a", "tier": "x"}, {"name": "b", "tier": "y"}), {"rmse": None})
    rules = (a_limit("rmse", Scope(kind=ScopeKind.TIER, name="x"), min=1.0), a_limit("rmse", max=0.7))

    assert "give overall ≥ 0.7071, above its limit 0.7" in contradictions(Policy(rules=rules), suite)[0]
    assert contradictions(Policy(rules=(rules[0], a_limit("rmse", max=0.71))), suite) == ()
