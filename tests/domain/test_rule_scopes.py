"""Which rule of a policy holds for a cell."""

from __future__ import annotations

import pytest

from app.domain.outcomes import Gate, Outcome
from app.domain.policies import Policy, PolicyRule, Scope, ScopeKind
from tests.domain.builders import a_suite, a_verdict, an_evaluation, check_of


def test_a_policy_can_demand_a_group_of_a_secondary_metric() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}})
    rule = PolicyRule(metric="mae", scope=Scope(kind=ScopeKind.GROUP, name="b"), required=True)
    good, bad = {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.2}

    verdict = a_verdict(
        an_evaluation(good, values=an_evaluation(bad, metric="mae").values),
        an_evaluation(good, values=an_evaluation(good, metric="mae").values),
        suite=suite,
        policy=Policy(rules=(rule,)),
    )

    check = check_of(verdict, "b", metric="mae")
    assert (check.outcome, check.required) == (Outcome.REGRESSED, True)
    assert verdict.gate is Gate.CLOSED


def test_a_policy_can_demand_a_tier_of_a_secondary_metric() -> None:
    suite = a_suite(({"name": "a", "tier": "t"}, "b"), {"mse": None, "mae": {"role": "secondary"}})
    rule = PolicyRule(metric="mae", scope=Scope(kind=ScopeKind.TIER, name="t"), required=True)
    side = an_evaluation(
        {"a": 1.0, "b": 1.0}, values=an_evaluation({"a": 1.0, "b": 1.0}, metric="mae").values
    )

    verdict = a_verdict(side, side, suite=suite, policy=Policy(rules=(rule,)))

    assert [(c.group, c.required) for c in verdict.checks if c.metric == "mae"] == [
        ("overall", False),
        ("tier:t", True),
    ]


@pytest.mark.parametrize(
    ("scope", "group", "tolerated"),
    [
        (None, "a", True),
        (Scope(kind=ScopeKind.EACH), "a", True),
        (Scope(kind=ScopeKind.EACH, name="easy"), "a", True),
        (Scope(kind=ScopeKind.EACH, name="hard"), "a", False),
        (Scope(kind=ScopeKind.GROUP, name="a"), "a", True),
        (Scope(kind=ScopeKind.GROUP, name="b"), "a", False),
        (Scope(kind=ScopeKind.OVERALL), "overall", True),
        (Scope(kind=ScopeKind.OVERALL), "a", False),
        (Scope(kind=ScopeKind.TIER, name="easy"), "tier:easy", True),
        (Scope(kind=ScopeKind.TIER, name="easy"), "a", False),
        (Scope(kind=ScopeKind.EACH), "overall", False),
    ],
)
def test_a_tolerance_holds_in_its_scope_and_nowhere_else(
    scope: Scope | None, group: str, tolerated: bool
) -> None:
    suite = a_suite(({"name": "a", "tier": "easy"}, {"name": "b", "tier": "hard"}))
    policy = Policy(rules=(PolicyRule(scope=scope, rel_tol=5.0),))

    verdict = a_verdict(
        an_evaluation({"a": 2.0, "b": 2.0}), an_evaluation({"a": 1.0, "b": 1.0}), suite=suite, policy=policy
    )

    assert check_of(verdict, group).outcome is (Outcome.PASS if tolerated else Outcome.REGRESSED)


def test_the_most_specific_scope_wins_and_among_equals_the_later() -> None:
    each, easy, one = (
        Scope(kind=ScopeKind.EACH),
        Scope(kind=ScopeKind.EACH, name="easy"),
        Scope(kind=ScopeKind.GROUP, name="a"),
    )
    suite = a_suite(
        ({"name": "a", "tier": "easy"}, {"name": "b", "tier": "easy"}, {"name": "c", "tier": "hard"})
    )
    policy = Policy(
        rules=(
            PolicyRule(scope=one, rel_tol=0.1),
            PolicyRule(scope=one, rel_tol=0.2),
            PolicyRule(scope=easy, rel_tol=0.3),
            PolicyRule(scope=each, rel_tol=0.4),
            PolicyRule(rel_tol=0.5),
        )
    )
    numbers = dict.fromkeys("abc", 1.0)

    verdict = a_verdict(an_evaluation(numbers), an_evaluation(numbers), suite=suite, policy=policy)

    limits = {check.group: check.limit for check in verdict.checks if check.limit is not None}
    expected = {"a": 0.2, "b": 0.3, "c": 0.4, "overall": 0.5, "tier:easy": 0.5, "tier:hard": 0.5}
    assert limits == pytest.approx(expected)


def test_rules_of_another_suite_or_metric_do_not_apply() -> None:
    policy = Policy(rules=(PolicyRule(suite="other", rel_tol=5.0), PolicyRule(metric="mae", rel_tol=5.0)))

    verdict = a_verdict(
        an_evaluation({"a": 2.0, "b": 2.0}), an_evaluation({"a": 1.0, "b": 1.0}), policy=policy
    )

    assert check_of(verdict, "a").outcome is Outcome.REGRESSED


def test_a_group_may_be_made_advisory() -> None:
    policy = Policy(rules=(PolicyRule(scope=Scope(kind=ScopeKind.GROUP, name="a"), required=False),))

    verdict = a_verdict(
        an_evaluation({"a": 1.5, "b": 0.5}), an_evaluation({"a": 1.0, "b": 1.0}), policy=policy
    )

    check = check_of(verdict, "a")
    assert (check.outcome, check.required) == (Outcome.REGRESSED, False)
    assert verdict.gate is Gate.OPEN
