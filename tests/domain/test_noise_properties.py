"""What must always hold of seeds, whatever the numbers (RULES.md, *Noise*)."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.comparison import Comparison
from app.domain.metrics import WELL_KNOWN, Direction
from app.domain.noise import judge_seeds, seeds_of
from app.domain.outcomes import Outcome
from app.domain.record import check_to_document
from app.domain.tolerances import Tolerances
from tests.domain.builders import (
    a_suite,
    a_verdict_of_seeds,
    check_of,
)

HOSTILE = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 1e-300, 5e-324, 1.7e308, 1.0]
)
ORDINARY = st.floats(min_value=0.5, max_value=2.0)
STEADY = settings(deadline=None, derandomize=True, max_examples=150)
SPECS = ({"mse": None}, {"mse": "higher"}, {"mse": {"direction": "target", "target": 1.0, "pooling": "mean"}})


def recipes(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[dict[str, float]]]:
    values = st.dictionaries(st.sampled_from(["a", "b"]), numbers)
    return st.lists(values, min_size=1, max_size=5)


@given(champion=recipes(HOSTILE), candidate=recipes(HOSTILE), spec=st.sampled_from(SPECS))
@settings(STEADY, max_examples=300)
def test_any_seeds_have_a_verdict_in_strict_json(
    champion: list[dict[str, float]], candidate: list[dict[str, float]], spec: dict[str, object]
) -> None:
    suite = a_suite(("a", "b"), spec)
    verdict = a_verdict_of_seeds(champion, candidate, suite=suite)

    json.dumps([check_to_document(check) for check in verdict.checks], allow_nan=False)
    assert len(verdict.sentence) <= 240
    for check in verdict.checks:
        assert all(x is None or math.isfinite(x) for x in (check.worsening, check.limit))
        seeds = check.detail.get("seeds")
        if seeds is not None:
            assert seeds["baseline"] >= 3
            assert all(math.isfinite(seeds[key]) for key in ("mean", "deviation", "hi"))
            assert seeds["deviation"] >= 0.0
            assert "single_seed" not in check.notes


@given(champion=recipes(HOSTILE), candidate=recipes(HOSTILE), seed=st.integers(0, 2**32))
@STEADY
def test_the_order_of_siblings_does_not_matter(
    champion: list[dict[str, float]], candidate: list[dict[str, float]], seed: int
) -> None:
    def shuffled(recipe: list[dict[str, float]]) -> list[dict[str, float]]:
        others = recipe[1:]
        random.Random(seed).shuffle(others)
        return [recipe[0], *others]

    suite = a_suite(("a", "b"))
    plain = a_verdict_of_seeds(champion, candidate, suite=suite)

    assert repr(a_verdict_of_seeds(shuffled(champion), shuffled(candidate), suite=suite)) == repr(plain)


@given(
    champion=st.lists(ORDINARY, min_size=3, max_size=6),
    candidate=st.lists(ORDINARY, min_size=1, max_size=4),
    power=st.integers(-200, 200),
)
@STEADY
def test_another_unit_changes_nothing(champion: list[float], candidate: list[float], power: int) -> None:
    def judged(factor: float) -> Comparison:
        metric = WELL_KNOWN["mse"]
        theirs, ours = (seeds_of(metric, [x * factor for x in side]) for side in (champion, candidate))
        return judge_seeds(metric, theirs, ours, Tolerances(zero_tol=0.0))

    plain, other = judged(1.0), judged(2.0**power)

    assert (other.outcome, other.notes, other.reason) == (plain.outcome, plain.notes, plain.reason)
    assert other.worsening == pytest.approx(plain.worsening)


@given(
    champion=st.lists(ORDINARY, min_size=3, max_size=6), candidate=st.lists(ORDINARY, min_size=1, max_size=4)
)
@STEADY
def test_higher_is_lower_mirrored(champion: list[float], candidate: list[float]) -> None:
    lower = replace(WELL_KNOWN["mse"], ideal=None)
    higher = replace(lower, direction=Direction.HIGHER)

    plain = judge_seeds(lower, seeds_of(lower, champion), seeds_of(lower, candidate), Tolerances())
    mirrored = judge_seeds(
        higher,
        seeds_of(higher, [-x for x in champion]),
        seeds_of(higher, [-x for x in candidate]),
        Tolerances(),
    )

    assert (mirrored.outcome, mirrored.notes) == (plain.outcome, plain.notes)
    assert mirrored.worsening == pytest.approx(plain.worsening)


@given(champion=st.lists(ORDINARY, min_size=3, max_size=6), values=st.lists(ORDINARY, min_size=2, max_size=2))
@STEADY
def test_a_better_candidate_never_fares_worse(champion: list[float], values: list[float]) -> None:
    def rank(value: float) -> int:
        metric = WELL_KNOWN["mse"]
        found = judge_seeds(metric, seeds_of(metric, champion), seeds_of(metric, [value]), Tolerances())
        if found.advisory:
            return 1
        return [Outcome.IMPROVED, Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.REGRESSED].index(found.outcome)

    assert rank(min(values)) <= rank(max(values))


@given(value=ORDINARY, candidate=ORDINARY, more=st.integers(2, 6))
@STEADY
def test_siblings_that_repeat_the_champion_change_nothing_but_the_note(
    value: float, candidate: float, more: int
) -> None:
    alone = check_of(a_verdict_of_seeds([value], [candidate]), "g")
    repeated = check_of(a_verdict_of_seeds([value] * (1 + more), [candidate]), "g")

    assert repeated.notes == ("no_spread",)
    assert replace(repeated, notes=("single_seed",), detail={}) == alone


@given(champion=recipes(HOSTILE), candidate=recipes(HOSTILE))
@STEADY
def test_with_too_few_seeds_of_the_champion_siblings_change_nothing(
    champion: list[dict[str, float]], candidate: list[dict[str, float]]
) -> None:
    suite = a_suite(("a", "b"))

    with_seeds = a_verdict_of_seeds(champion[:2], candidate, suite=suite)

    assert repr(with_seeds) == repr(a_verdict_of_seeds(champion[:1], candidate[:1], suite=suite))
