"""What must always hold, whatever the numbers."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.domain.assess import AssessmentInput, Champion, assess
from app.domain.comparison import compare, judge, worsening
from app.domain.evaluations import Bound, Evaluation, Value
from app.domain.metrics import Direction, Metric, Pooling, gap
from app.domain.outcomes import Gate, Outcome, Rule, Verdict
from app.domain.policies import Combine, Policy, PolicyRule
from app.domain.scaling import beyond, exceeds
from app.domain.tolerances import Tolerances
from app.domain.weighing import weighted_mean
from tests.domain.builders import a_suite, a_verdict, an_evaluation

FINITE = st.floats(allow_nan=False, allow_infinity=False)


ANY = st.floats(allow_nan=True, allow_infinity=True)


ORDINARY = st.floats(min_value=1e-6, max_value=1e6)


GROUPS = ("a", "b", "c", "d")


# The same examples every time, on however busy a machine.
STEADY = settings(deadline=None, derandomize=True, max_examples=100)


@st.composite
def metrics(draw: st.DrawFn, numbers: st.SearchStrategy[float] = FINITE) -> Metric:
    direction = draw(st.sampled_from(Direction))
    if direction is Direction.TARGET:
        return Metric(name="m", direction=direction, target=draw(numbers))
    return Metric(name="m", direction=direction, ideal=draw(st.none() | numbers))


@st.composite
def tolerances(draw: st.DrawFn, *, ordinary: bool = False) -> Tolerances:
    return Tolerances(
        rel_tol=draw(st.none() | st.floats(min_value=0, max_value=10)),
        abs_tol=draw(st.none() | (ORDINARY if ordinary else st.floats(min_value=0, allow_infinity=False))),
        combine=draw(st.sampled_from(Combine)),
        improve_tol=draw(st.floats(min_value=0, max_value=1)),
        zero_tol=draw(st.sampled_from([0.0, 1e-12, 1.0])),
    )


@st.composite
def evaluations(
    draw: st.DrawFn, numbers: st.SearchStrategy[float] = ANY, name: str = "candidate"
) -> Evaluation:
    """Any subset of the groups, each with any value, n, standard error and bound."""
    values = tuple(
        Value(
            metric="mse",
            group=group,
            value=draw(numbers),
            n=draw(st.none() | st.integers(min_value=0, max_value=1000)),
            stderr=draw(st.none() | st.floats(min_value=0, max_value=1e3)),
            bound=draw(st.sampled_from(Bound)),
        )
        for group in draw(st.lists(st.sampled_from(GROUPS), unique=True))
    )
    return replace(an_evaluation(id=name), values=values)


def numbers_of(verdict: Verdict) -> list[float | None]:
    of_checks = [x for c in verdict.checks for x in (c.worsening, c.limit)]
    return of_checks + [a.worsening for a in verdict.aggregates]


# Two numbers.


@given(metric=metrics(), before=FINITE, after=FINITE, terms=tolerances())
@example(metric=Metric(name="m", direction=Direction.LOWER), before=-1e308, after=1e308, terms=Tolerances())
@example(
    metric=Metric(name="m", direction=Direction.LOWER, ideal=0.0),
    before=5e-324,
    after=1.7e308,
    terms=Tolerances(zero_tol=0.0),
)
@example(
    metric=Metric(name="m", direction=Direction.HIGHER, ideal=1.7e308),
    before=-1.7e308,
    after=1.7e308,
    terms=Tolerances(abs_tol=5e-324, combine=Combine.ANY),
)
@settings(STEADY, max_examples=400)
def test_no_finite_input_yields_nan_or_a_wrong_sign(
    metric: Metric, before: float, after: float, terms: Tolerances
) -> None:
    found = judge(metric, before, after, terms)

    assert found.worsening is None or math.isfinite(found.worsening)
    assert found.limit is None or math.isfinite(found.limit)
    # gap() itself may overflow to ±∞, which orders the two numbers all the same.
    worse = gap(metric, after) > gap(metric, before)
    better = gap(metric, after) < gap(metric, before)
    if found.outcome is Outcome.REGRESSED:
        assert worse
    if found.outcome is Outcome.IMPROVED:
        assert better
    if found.worsening is not None and metric.ideal is None:
        assert not (better and found.worsening > 0)
        assert not (worse and found.worsening < 0)


@given(before=FINITE, after=FINITE, ideal=st.none() | FINITE, terms=tolerances())
@STEADY
def test_higher_is_lower_mirrored(
    before: float, after: float, ideal: float | None, terms: Tolerances
) -> None:
    lower = Metric(name="m", direction=Direction.LOWER, ideal=ideal)
    higher = Metric(name="m", direction=Direction.HIGHER, ideal=None if ideal is None else -ideal)

    assert judge(lower, before, after, terms) == judge(higher, -before, -after, terms)


@given(
    metric=metrics(ORDINARY),
    before=ORDINARY,
    after=ORDINARY,
    terms=tolerances(ordinary=True),
    power=st.integers(-200, 200),
)
@STEADY
def test_another_unit_changes_nothing(
    metric: Metric, before: float, after: float, terms: Tolerances, power: int
) -> None:
    def scaled(x: float | None) -> float | None:
        return None if x is None else math.ldexp(x, power)

    in_other_unit = replace(metric, ideal=scaled(metric.ideal), target=scaled(metric.target))
    other_terms = replace(terms, abs_tol=scaled(terms.abs_tol), zero_tol=math.ldexp(terms.zero_tol, power))

    plain = judge(metric, before, after, terms)
    other = judge(in_other_unit, math.ldexp(before, power), math.ldexp(after, power), other_terms)

    assert other.outcome is plain.outcome
    assert (other.worsening is None) == (plain.worsening is None)
    if plain.worsening is not None:
        assert other.worsening == pytest.approx(plain.worsening, rel=1e-9)


@given(
    metric=metrics(ORDINARY),
    values=st.tuples(ORDINARY, ORDINARY),
    bounds=st.tuples(st.sampled_from(Bound), st.sampled_from(Bound)),
    truths=st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
@settings(STEADY, max_examples=400)
def test_what_a_bound_decides_holds_for_every_value_it_allows(
    metric: Metric, values: tuple[float, float], bounds: tuple[Bound, Bound], truths: tuple[float, float]
) -> None:
    terms = Tolerances()
    sides = [Value(metric="m", group="g", value=v, bound=b) for v, b in zip(values, bounds, strict=True)]
    decided = compare(metric, *sides, terms).outcome

    actual = [
        value + (shift if bound is Bound.AT_LEAST else -shift if bound is Bound.AT_MOST else 0.0)
        for value, bound, shift in zip(values, bounds, truths, strict=True)
    ]
    # No true value lies beyond its ideal, and against a baseline of exactly zero no share can be taken.
    assume(metric.ideal is None or all(gap(metric, x) >= 0 for x in actual))
    assume(worsening(metric, *actual) is not None)

    true = judge(metric, *actual, terms).outcome
    if decided is Outcome.REGRESSED:
        assert true is Outcome.REGRESSED
    if decided is Outcome.IMPROVED:
        assert true is Outcome.IMPROVED
    if decided is Outcome.PASS:
        assert true in (Outcome.PASS, Outcome.IMPROVED)


@given(x=FINITE, limit=FINITE)
@STEADY
def test_what_exceeds_a_limit_is_above_it_and_never_both_ways(x: float, limit: float) -> None:
    if exceeds(x, limit):
        assert x > limit
        assert not exceeds(limit, x)


@given(x=st.floats(1e-300, 1e300), share=st.floats(0.0, 10.0))
@STEADY
def test_exactly_the_limit_is_never_beyond_it(x: float, share: float) -> None:
    limit = x * share
    worse = (x + limit) - x

    assert not beyond(worse, limit, x, x + limit)


# Whole verdicts.


@given(candidate=evaluations(), champion=evaluations(name="champion"))
@settings(STEADY, max_examples=300)
def test_any_two_evaluations_have_a_verdict_that_adds_up(candidate: Evaluation, champion: Evaluation) -> None:
    verdict = a_verdict(candidate, champion, suite=a_suite(GROUPS))

    assert all(x is None or math.isfinite(x) for x in numbers_of(verdict))
    assert verdict.judged_cells <= verdict.total_cells
    assert len(verdict.sentence) <= 240
    required = [check for check in verdict.checks if check.required]
    opening = {Outcome.PASS, Outcome.IMPROVED}
    if verdict.gate is Gate.OPEN:
        assert all(check.outcome in opening for check in required)
        assert verdict.judged_cells > 0
    assert (verdict.gate is Gate.CLOSED) == any(
        check.outcome in (Outcome.FAILED, Outcome.REGRESSED) for check in required
    )
    for check in verdict.checks:
        explained = check.outcome in (Outcome.NOT_EVALUATED, Outcome.FAILED)
        assert (check.reason is not None) == (explained or check.outcome is Outcome.INCONCLUSIVE)


@given(
    candidate=evaluations(ORDINARY),
    champion=evaluations(ORDINARY, name="champion"),
    group=st.sampled_from(GROUPS),
    bad=st.sampled_from([math.nan, math.inf, -math.inf]),
)
@STEADY
def test_what_is_not_finite_in_a_required_value_never_opens_a_gate(
    candidate: Evaluation, champion: Evaluation, group: str, bad: float
) -> None:
    others = tuple(value for value in candidate.values if value.group != group)
    spoilt = replace(candidate, values=(*others, Value(metric="mse", group=group, value=bad, n=100)))

    for holder in (champion, None):
        assert a_verdict(spoilt, holder, suite=a_suite(GROUPS)).gate is Gate.CLOSED


@given(candidate=evaluations(), champion=evaluations(name="champion"), seed=st.integers(0, 2**32))
@STEADY
def test_the_order_of_groups_does_not_matter(candidate: Evaluation, champion: Evaluation, seed: int) -> None:
    def shuffled(evaluation: Evaluation) -> Evaluation:
        values = list(evaluation.values)
        random.Random(seed).shuffle(values)
        return replace(evaluation, values=tuple(values))

    groups = list(GROUPS)
    random.Random(seed).shuffle(groups)
    plain = a_verdict(candidate, champion, suite=a_suite(GROUPS))
    posted_otherwise = a_verdict(shuffled(candidate), shuffled(champion), suite=a_suite(GROUPS))
    listed_otherwise = a_verdict(candidate, champion, suite=a_suite(groups))

    assert repr(posted_otherwise) == repr(plain)

    def by_cell(verdict: Verdict) -> list[str]:
        # Evidence that lists groups lists them in the suite's order.
        return sorted(repr(replace(check, detail={})) for check in verdict.checks)

    assert by_cell(listed_otherwise) == by_cell(plain)
    assert listed_otherwise.gate is plain.gate
    assert [repr((a.name, a.value, a.worsening)) for a in listed_otherwise.aggregates] == [
        repr((a.name, a.value, a.worsening)) for a in plain.aggregates
    ]


@given(
    before=st.lists(ORDINARY, min_size=4, max_size=4),
    after=st.lists(ORDINARY, min_size=4, max_size=4),
    power=st.integers(-30, 30),
)
@STEADY
def test_scaling_a_metric_with_its_limits_and_zero_tol_changes_no_verdict(
    before: list[float], after: list[float], power: int
) -> None:
    def verdict(factor: float) -> Verdict:
        policy = Policy(
            abs_tol=0.01 * factor,
            zero_tol=1e-12 * factor,
            rules=(PolicyRule(metric="mse", max=2.0 * factor),),
        )
        sides = (
            an_evaluation({g: x * factor for g, x in zip(GROUPS, s, strict=True)}) for s in (after, before)
        )
        return a_verdict(*sides, suite=a_suite(GROUPS), policy=policy)

    def gist(found: Verdict) -> list[tuple[Rule, str | None, Outcome, str | None]]:
        return [(c.rule, c.group, c.outcome, c.reason) for c in found.checks]

    assert gist(verdict(2.0**power)) == gist(verdict(1.0))


@given(candidate=evaluations(), champion=evaluations(name="champion"))
@STEADY
def test_the_same_input_has_the_same_verdict(candidate: Evaluation, champion: Evaluation) -> None:
    inputs = AssessmentInput(
        suite=a_suite(GROUPS),
        candidate=candidate,
        champion=Champion(evaluation=champion, suite=a_suite(GROUPS)),
        policy=Policy(),
    )

    assert repr(assess(inputs)) == repr(assess(inputs))


@given(
    numbers=st.lists(st.tuples(st.floats(1e-9, 1e9), FINITE), min_size=1, max_size=8), squares=st.booleans()
)
@STEADY
def test_a_mean_lies_within_its_numbers_in_any_order(
    numbers: list[tuple[float, float]], squares: bool
) -> None:
    if squares:
        numbers = [(weight, abs(x)) for weight, x in numbers]

    found = weighted_mean(numbers, squares=squares)

    low, high = min(x for _, x in numbers), max(x for _, x in numbers)
    slack = 1e-12 * max(abs(low), abs(high))
    assert low / 2 - slack / 2 <= found / 2 <= high / 2 + slack / 2
    assert weighted_mean(numbers[::-1], squares=squares) == found


@given(
    values=st.lists(ORDINARY, min_size=1, max_size=6), pooling=st.sampled_from([Pooling.MEAN, Pooling.RMS])
)
@STEADY
def test_a_metric_that_is_the_same_everywhere_is_the_same_pooled(
    values: list[float], pooling: Pooling
) -> None:
    found = weighted_mean([(x, 0.37) for x in values], squares=pooling is Pooling.RMS)

    assert found == pytest.approx(0.37)
