"""Many groups judged at once: the same checks, number for number, as the rule gives one cell at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.assess import AssessmentInput, Champion, Sibling, assess
from app.domain.cells import Cell, regression_check
from app.domain.evaluations import Bound, Evaluation, Value
from app.domain.judge import BULK_FROM, Judge
from app.domain.outcomes import Check, Outcome, Rule
from app.domain.policies import Combine, Policy, PolicyRule, Scope, ScopeKind
from app.domain.suites import Suite
from tests.domain.builders import a_suite, an_evaluation, check_of

GROUPS = ("a", "b", "c")
AT_ONCE, ONE_BY_ONE = 0, 10**9
ODD = st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-13, 5e-324, 1e-101, 1e101, 1.7e308, -1.7e308, 1.0, 2.0]
)
# Mostly around one, so that every outcome comes up; now and then anything.
NUMBERS = st.one_of(st.floats(0.9, 1.1), st.floats(0.9, 1.1), st.floats(0.5, 2.0), st.floats(-1e3, 1e3), ODD)
SPECS = (
    {"mse": None},
    {"mse": "higher"},
    {"mse": {"direction": "higher", "ideal": 3.0, "pooling": "rms"}},
    {"mse": {"direction": "lower", "ideal": None}},
    {"mse": {"direction": "target", "target": 1.0, "pooling": "mean"}},
    {"mse": {"role": "secondary"}},
)
POLICIES = st.builds(
    Policy,
    rel_tol=st.sampled_from([0.1, 0.1, 0.0, None]),
    abs_tol=st.sampled_from([None, None, 0.05, 1e300]),
    combine=st.sampled_from(Combine),
    zero_tol=st.sampled_from([1e-12, 0.0]),
    min_n=st.sampled_from([30, 0]),
    min_seeds=st.sampled_from([3, 2]),
    rules=st.sampled_from(
        [
            (),
            (PolicyRule(scope=Scope(kind=ScopeKind.GROUP, name="a"), rel_tol=0.02, required=True),),
            (PolicyRule(scope=Scope(kind=ScopeKind.EACH), required=True),),
            (PolicyRule(required=False),),
        ]
    ),
)


@st.composite
def evaluations(draw: st.DrawFn, name: str) -> Evaluation:
    groups = draw(st.sets(st.sampled_from(GROUPS), min_size=1))
    values = tuple(
        Value(
            metric="mse",
            group=group,
            value=draw(NUMBERS),
            n=draw(st.sampled_from([100, 100, None, 29])),
            stderr=draw(st.sampled_from([None, None, 0.01, 0.3, math.nan])),
            bound=draw(st.sampled_from([Bound.EXACT] * 8 + [Bound.AT_LEAST, Bound.AT_MOST])),
        )
        for group in sorted(groups)
    )
    return replace(an_evaluation(id=name, run=name), values=values)


@st.composite
def suites(draw: st.DrawFn, suite: Suite) -> Suite:
    """The suite, or a version in which some or all cells mean something else."""
    return draw(
        st.sampled_from(
            [
                suite,
                suite,
                suite,
                replace(suite, dataset="elsewhere"),
                replace(suite, groups=(replace(suite.groups[0], definition="x"), *suite.groups[1:])),
            ]
        )
    )


@st.composite
def inputs(draw: st.DrawFn) -> AssessmentInput:
    suite = a_suite(GROUPS, draw(st.sampled_from(SPECS)))

    def siblings(name: str) -> tuple[Sibling, ...]:
        count = draw(st.integers(0, 4))
        return tuple(
            Sibling(evaluation=draw(evaluations(f"{name}{i}")), suite=draw(suites(suite)))
            for i in range(count)
        )

    def champion(name: str) -> Champion:
        return Champion(
            evaluation=draw(evaluations(name)), suite=draw(suites(suite)), siblings=siblings(f"{name}-seed")
        )

    return AssessmentInput(
        suite=suite,
        candidate=draw(evaluations("candidate")),
        champion=champion("champion"),
        policy=draw(POLICIES),
        siblings=siblings("ours"),
        history=tuple(champion(f"former{i}") for i in range(draw(st.integers(0, 2)))),
    )


def checks_by(bulk_from: int, given_: AssessmentInput) -> list[Check]:
    judge = Judge(
        given_.suite,
        given_.candidate,
        given_.champion,
        given_.policy,
        given_.siblings,
        given_.history,
        bulk_from=bulk_from,
    )
    (metric,) = given_.suite.metrics
    return [*judge.metric_checks(metric).every, *judge.trend_checks(metric)]


@given(given_=inputs())
@settings(deadline=None, derandomize=True, max_examples=300)
def test_judging_at_once_and_one_by_one_agree(given_: AssessmentInput) -> None:
    at_once, one_by_one = checks_by(AT_ONCE, given_), checks_by(ONE_BY_ONE, given_)

    # repr, since NaN is not equal to itself.
    assert [repr(check) for check in at_once] == [repr(check) for check in one_by_one]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("seeds", [0, 2, 4])
def test_crowds_of_ordinary_groups_agree(spec: dict[str, object], seeds: int) -> None:
    """Ordinary numbers by the hundred: every cell of the tables, which drawn examples hardly meet."""
    random = Random(f"{spec} {seeds}")
    groups = [f"g{i}" for i in range(150)]
    suite = a_suite(groups, spec)

    def run(name: str, shift: float) -> Evaluation:
        values = tuple(
            Value(
                metric="mse",
                group=group,
                value=random.uniform(1.5 - shift, 1.5 + shift) + 0.004 * (i % 9) * random.gauss(),
                n=random.choice([100, 100, 100, None]),
                stderr=random.choice([None, 0.01, 0.1]),
            )
            for i, group in enumerate(groups)
        )
        return replace(an_evaluation(id=name, run=name), values=values)

    def siblings(name: str) -> tuple[Sibling, ...]:
        return tuple(Sibling(evaluation=run(f"{name}{i}", 0.0), suite=suite) for i in range(seeds))

    given_ = AssessmentInput(
        suite=suite,
        candidate=run("candidate", 0.3),
        champion=Champion(evaluation=run("champion", 0.0), suite=suite, siblings=siblings("c")),
        policy=Policy(rules=(PolicyRule(scope=Scope(kind=ScopeKind.EACH), required=True),)),
        siblings=siblings("ours")[:2],
        history=tuple(
            Champion(evaluation=run(f"former{i}", 0.1), suite=suite, siblings=siblings(f"f{i}"))
            for i in range(2)
        ),
    )

    at_once, one_by_one = checks_by(AT_ONCE, given_), checks_by(ONE_BY_ONE, given_)

    assert at_once == one_by_one
    assert {check.rule for check in one_by_one} == {Rule.REGRESSION, Rule.TREND}


def many(numbers: Callable[[int], float], name: str, n: int = 4 * BULK_FROM) -> Evaluation:
    return an_evaluation({f"g{i}": numbers(i) for i in range(n)}, id=name, run=name)


def a_sweep(spread: float, count: int) -> tuple[Suite, list[Evaluation]]:
    """Evaluations whose value in group i is 1, give or take a spread that differs from group to group."""
    runs = [
        many(lambda i, seed=seed: 1.0 + spread * (1 + i % 7) * math.sin(7.0 * seed + 1.3 * i), f"s{seed}")
        for seed in range(count)
    ]
    return a_suite([value.group for value in runs[0].values]), runs


def test_every_outcome_of_ordinary_numbers_is_found_at_once() -> None:
    suite, runs = a_sweep(0.006, 5)
    siblings = tuple(Sibling(evaluation=run, suite=suite) for run in runs[1:])
    given_ = AssessmentInput(
        suite=suite,
        candidate=many(lambda i: 0.75 + 0.01 * i, "candidate"),
        champion=Champion(evaluation=runs[0], suite=suite, siblings=siblings),
        policy=Policy(),
    )
    cells = cells_of(given_)
    bout = Judge(suite, given_.candidate, given_.champion, given_.policy).bout

    found = bout.group_checks(suite.metrics[0], [c.group for c in cells], [c.terms for c in cells])

    decided = [check for check in found if check is not None]
    assert {check.outcome for check in decided} == {Outcome.PASS, Outcome.IMPROVED, Outcome.REGRESSED}
    assert any("small_but_real" in check.notes for check in decided)
    # What is inconclusive needs advice, which the rule gives.
    left = [cell for cell, check in zip(cells, found, strict=True) if check is None]
    assert {regression_check(cell).outcome for cell in left} == {Outcome.INCONCLUSIVE}
    assert len(decided) > len(left)


def cells_of(given_: AssessmentInput) -> list[Cell]:
    judge = Judge(given_.suite, given_.candidate, given_.champion, given_.policy)
    (metric,) = given_.suite.metrics
    groups, terms = judge.judged_groups(metric)
    return [judge.bout.group_cell(metric, *pair) for pair in zip(groups, terms, strict=True)]


def test_a_verdict_of_many_groups_sees_creep_in_each() -> None:
    suite, (old, *_) = a_sweep(0.0, 1)
    new = many(lambda i: 1.12, "new")
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=many(lambda i: 1.12 + 0.001 * i, "candidate"),
            champion=Champion(evaluation=new, suite=suite),
            policy=Policy(),
            history=(Champion(evaluation=old, suite=suite),),
        )
    )

    assert [check_of(verdict, f"g{i}", rule=Rule.TREND).reason for i in (0, 30, 31, 63)] == [
        None,
        None,
        "creep",
        "creep",
    ]
    assert check_of(verdict, "g63", rule=Rule.TREND).baseline == 1.0


def test_a_check_filled_at_once_has_every_field() -> None:
    suite, (champion, candidate) = a_sweep(0.01, 2)
    verdict = assess(
        AssessmentInput(
            suite=suite,
            candidate=candidate,
            champion=Champion(evaluation=champion, suite=suite),
            policy=Policy(),
        )
    )

    check = check_of(verdict, "g5")
    assert check == Check(**{field.name: getattr(check, field.name) for field in fields(Check)})
    with pytest.raises(AttributeError):
        check.outcome = Outcome.PASS  # type: ignore[misc]
