"""Creep: steps that each pass, held against the best champion so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.domain.alerts import drafts_from
from app.domain.assess import AssessmentInput, Champion, assess
from app.domain.outcomes import Check, Gate, Outcome, Rule, Verdict
from app.domain.policies import Policy, PolicyRule
from app.domain.promotion import EventKind, decide
from app.domain.suites import Suite
from tests.domain.builders import a_suite, an_evaluation, check_of, the_seeds

ONE = a_suite(("g",))


def a_champion(
    values: float | Mapping[str, float], *, name: str, suite: Suite = ONE, siblings: Iterable[float] = ()
) -> Champion:
    by_group = values if isinstance(values, Mapping) else {"g": values}
    return Champion(
        evaluation=an_evaluation(by_group, id=name, run=name),
        suite=suite,
        siblings=the_seeds(suite, siblings, name=f"{name}-seed"),
    )


def against(
    candidate: float | Mapping[str, float],
    *champions: Champion,
    suite: Suite = ONE,
    policy: Policy | None = None,
) -> Verdict:
    """Of a candidate after those champions, the last of which is the current one."""
    by_group = candidate if isinstance(candidate, Mapping) else {"g": candidate}
    return assess(
        AssessmentInput(
            suite=suite,
            candidate=an_evaluation(by_group),
            champion=champions[-1],
            policy=policy or Policy(),
            history=champions[:-1],
        )
    )


def creep_in(verdict: Verdict, group: str = "g") -> Check:
    return check_of(verdict, group, rule=Rule.TREND)


def trends(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if check.rule is Rule.TREND]


def test_ten_steps_of_four_percent_are_caught_at_the_fourth() -> None:
    champions = [a_champion(1.0, name="run-0")]
    passed = []
    for step in range(1, 11):
        value = 1.04**step
        verdict = against(value, *champions)
        assert check_of(verdict, "g").outcome is Outcome.PASS
        if verdict.gate is not Gate.OPEN:
            break
        passed.append(step)
        champions.append(a_champion(value, name=f"run-{step}"))

    assert passed == [1, 2, 3]
    check = creep_in(verdict)
    assert (check.outcome, check.reason, check.required) == (Outcome.REGRESSED, "creep", True)
    assert (check.baseline, check.candidate) == (1.0, 1.04**4)
    assert check.limit == 0.1 * 1.5
    assert check.detail["champion"] == {"evaluation": "run-0", "run": "run-0"}
    assert verdict.gate is Gate.CLOSED
    assert verdict.sentence == (
        "Closed: mse in g crept +17.0 % away from the best champion so far, run-0; "
        "1 of 1 cells judged against run-3."
    )


def test_what_crept_is_refused_and_alerted() -> None:
    champions = [a_champion(x, name=f"run-{i}") for i, x in enumerate((1.0, 1.08, 1.15))]
    verdict = against(1.2, *champions)

    decision = decide(
        EventKind.PROMOTE,
        verdict=verdict,
        candidate=an_evaluation({"g": 1.2}),
        champion=champions[-1],
        suite=ONE,
        policy=Policy(),
        reason=None,
    )
    (draft,) = drafts_from(verdict, "run-6", "suite", "final")

    assert decision.reasons[-2].startswith(
        "creep: mse in g: crept away from the best champion so far, run-0: "
    )
    assert draft.kind.value == "regression"
    assert draft.title == "run-6: 1 of 1 group regressed (suite)"
    assert draft.lines[0].text == (
        "mse in g: crept away from the best champion so far, run-0: 1 → 1.2, 20.0 % worse"
    )


def test_exactly_half_more_than_the_limit_passes() -> None:
    verdict = against(1.15, a_champion(1.0, name="old"), a_champion(1.1, name="new"))

    assert creep_in(verdict).outcome is Outcome.PASS
    assert verdict.gate is Gate.OPEN


def test_a_candidate_better_than_every_champion_passes_its_trend() -> None:
    check = creep_in(against(0.5, a_champion(1.0, name="old"), a_champion(1.1, name="new")))

    assert (check.outcome, check.reason) == (Outcome.PASS, None)


def test_nothing_is_added_where_the_current_champion_is_the_best() -> None:
    assert trends(against(1.0, a_champion(1.1, name="old"), a_champion(1.0, name="new"))) == []
    assert trends(against(1.0, a_champion(1.0, name="old"), a_champion(1.0, name="new"))) == []
    assert trends(against(1.0, a_champion(1.0, name="only"))) == []


def test_the_best_of_several_champions_counts() -> None:
    champions = [a_champion(x, name=f"run-{i}") for i, x in enumerate((1.1, 1.0, 1.05, 1.2))]

    assert creep_in(against(1.25, *champions)).detail["champion"] == {"evaluation": "run-1", "run": "run-1"}


def test_an_evaluation_is_no_trend_of_its_own() -> None:
    again = a_champion(0.5, name="candidate")

    assert trends(against(1.0, again, a_champion(1.0, name="new"))) == []


def test_aggregates_creep_too() -> None:
    suite = a_suite(("a", "b"))
    verdict = against(
        {"a": 1.2, "b": 1.2},
        a_champion({"a": 1.0, "b": 1.0}, name="old", suite=suite),
        a_champion({"a": 1.15, "b": 1.15}, name="new", suite=suite),
        suite=suite,
    )

    assert [(c.group, c.reason) for c in trends(verdict)] == [
        ("overall", "creep"), ("a", "creep"), ("b", "creep")
    ]  # fmt: skip
    assert trends(verdict)[0].detail["groups_used"] == 2


def test_a_champion_of_another_dataset_is_no_history() -> None:
    other = a_suite(("g",), dataset="elsewhere")
    verdict = against(1.2, a_champion(1.0, name="old", suite=other), a_champion(1.15, name="new"))

    assert trends(verdict) == []


def test_an_unusable_champion_is_no_history() -> None:
    for value in (float("nan"), -1.0):
        assert trends(against(1.2, a_champion(value, name="old"), a_champion(1.15, name="new"))) == []


def test_what_the_gate_does_not_depend_on_has_no_trend() -> None:
    policy = Policy(rules=(PolicyRule(metric="mse", required=False),))

    assert (
        trends(against(1.2, a_champion(1.0, name="old"), a_champion(1.15, name="new"), policy=policy)) == []
    )


def test_a_best_champion_of_known_seeds_counts_by_its_mean_and_its_noise() -> None:
    lucky = a_champion(0.9, name="old", siblings=(1.1, 1.05, 0.95))
    current = a_champion(1.1, name="new")

    check = creep_in(against(1.17, lucky, current))

    assert (check.outcome, check.reason) == (Outcome.INCONCLUSIVE, "seed_noise")
    assert check.baseline == 1.0
    assert check.required


def test_a_policy_says_how_far_a_champion_may_be_missed() -> None:
    champions = a_champion(1.0, name="old"), a_champion(1.1, name="new")

    assert creep_in(against(1.2, *champions)).outcome is Outcome.REGRESSED
    assert creep_in(against(1.2, *champions, policy=Policy(trend_factor=2.0))).outcome is Outcome.PASS
