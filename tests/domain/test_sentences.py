"""What a tired person reads: golden sentences, lines of checks, numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.domain.evaluations import Bound, Evaluation, Loss, Stated
from app.domain.outcomes import Check, Outcome, Rule, Verdict
from app.domain.policies import GapBand, Policy, PolicyRule, Scope, ScopeKind
from app.domain.sentences import explain, listed, number, numbers_apart, percent, shortened, signed_percent
from app.domain.summary import MAX_SENTENCE
from tests.domain import test_team_b
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation
from tests.domain.golden import assert_golden

ABC = {"a": 1.0, "b": 1.0, "c": 1.0}
SUITE = a_suite(("a", "b", "c"))
TWO = a_suite(("a", "b", "c"), {"mse": None, "mae": None})
PDE = a_suite(("a", "b", "c"), {"mse": None, "bc_violation": "limit"})
LIMITS = Policy(
    rules=(
        PolicyRule(metric="mse", max=0.5),
        PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.GROUP, name="a"), max=0.5),
        PolicyRule(metric="bc_violation", max=1.0),
    )
)


def both(numbers: dict[str, float], mae: dict[str, float]) -> Evaluation:
    return an_evaluation(numbers, values=an_evaluation(mae, metric="mae").values)


def cases() -> dict[str, Verdict]:
    champion = an_evaluation(ABC)
    return {
        "team b": test_team_b.verdict(),
        "open, better": a_verdict(an_evaluation({"a": 0.9, "b": 0.8, "c": 1.0}), champion, suite=SUITE),
        "open, unchanged": a_verdict(an_evaluation(ABC), champion, suite=SUITE),
        "open, one group not judged": a_verdict(
            an_evaluation(ABC, n={"a": 3, "b": 90, "c": 90}), champion, suite=SUITE
        ),
        "open, with findings": a_verdict(
            an_evaluation(ABC, n={"a": 90, "b": 900, "c": 90}, seeded=False, split_seeded=False),
            champion,
            suite=SUITE,
        ),
        "open, advisory group regressed": a_verdict(
            an_evaluation({"a": 1.5, "b": 1.0, "c": 0.5}),
            champion,
            suite=SUITE,
            policy=Policy(rules=(PolicyRule(scope=Scope(kind=ScopeKind.GROUP, name="a"), required=False),)),
        ),
        "closed, all regressed": a_verdict(an_evaluation(dict.fromkeys("abc", 1.234)), champion, suite=SUITE),
        "closed, one of two metrics": a_verdict(
            both(ABC, {"a": 1.3, "b": 1.0, "c": 1.0}), both(ABC, ABC), suite=TWO
        ),
        "closed, only the overall": a_verdict(
            an_evaluation(values=[a_whole(1.2, n=90)]),
            an_evaluation(values=[a_whole(1.0, n=90)]),
            suite=a_suite(()),
        ),
        "closed, regressed from zero": a_verdict(
            an_evaluation({"a": 0.5, "b": 1.0, "c": 1.0}),
            an_evaluation({"a": 0.0, "b": 1.0, "c": 1.0}),
            suite=SUITE,
            policy=Policy(abs_tol=0.1),
        ),
        "closed, not finite": a_verdict(an_evaluation({**ABC, "b": math.nan}), champion, suite=SUITE),
        "closed, impossible": a_verdict(an_evaluation({**ABC, "b": -0.5}), champion, suite=SUITE),
        "closed, groups missing": a_verdict(an_evaluation({"a": 1.0}), champion, suite=SUITE),
        "closed, metric missing": a_verdict(an_evaluation(ABC), both(ABC, ABC), suite=TWO),
        "closed, limits": a_verdict(
            an_evaluation(ABC, values=[a_whole(1.5, metric="bc_violation")]),
            champion,
            suite=PDE,
            policy=LIMITS,
        ),
        "closed, one limit by a hair": a_verdict(
            an_evaluation(ABC, values=[a_whole(1.00001, metric="bc_violation")]),
            champion,
            suite=PDE,
            policy=Policy(rules=LIMITS.rules[2:]),
        ),
        "closed, sums": a_verdict(
            an_evaluation(
                ABC,
                stated=Stated(n=250, overall={"mse": 0.9}),
                loss=Loss(total=1.0, parts={"data": 0.5}, train=0.2, val=0.9),
            ),
            champion,
            suite=SUITE,
            policy=Policy(gap=GapBand(max=0.5, relative=True)),
        ),
        "closed, no champion and a limit not met": a_verdict(an_evaluation(ABC), suite=SUITE, policy=LIMITS),
        "undecided, no champion": a_verdict(an_evaluation(ABC), suite=SUITE),
        "undecided, nothing judged": a_verdict(an_evaluation(ABC, n=3), champion, suite=SUITE),
        "undecided, zero baseline": a_verdict(
            an_evaluation({**ABC, "a": 0.1}), an_evaluation({**ABC, "a": 0.0}), suite=SUITE
        ),
        "undecided, bound": a_verdict(
            an_evaluation({**ABC, "a": 1.05}, bounds={"a": Bound.AT_LEAST}), champion, suite=SUITE
        ),
        "undecided, standard errors": a_verdict(
            an_evaluation({**ABC, "a": 1.3}, stderr=0.2), an_evaluation(ABC, stderr=0.2), suite=SUITE
        ),
        "undecided, baseline invalid": a_verdict(
            an_evaluation(ABC), an_evaluation({**ABC, "a": math.nan}), suite=SUITE
        ),
        "undecided, another dataset": a_verdict(
            an_evaluation(ABC), champion, suite=replace(SUITE, version=2, dataset="new"), champion_suite=SUITE
        ),
        "undecided, limit not reported": a_verdict(
            an_evaluation(ABC), champion, suite=PDE, policy=Policy(rules=LIMITS.rules[2:])
        ),
        "undecided, required gap not recorded": a_verdict(
            an_evaluation(ABC), champion, suite=SUITE, policy=Policy(gap=GapBand(min=0.02, required=True))
        ),
    }


def test_the_sentence_of_every_kind_of_verdict() -> None:
    assert_golden("sentences", {name: verdict.sentence for name, verdict in cases().items()})


def test_a_sentence_begins_with_the_gate_and_stays_short() -> None:
    for name, verdict in cases().items():
        assert verdict.sentence.startswith(verdict.gate.value.capitalize() + ": "), name
        assert verdict.sentence.endswith("."), name
        assert len(verdict.sentence) <= MAX_SENTENCE, name


def test_a_sentence_with_names_as_long_as_they_may_be_stays_short() -> None:
    names = [letter * 256 for letter in "abc"]
    suite = a_suite(names, {"m" * 256: "lower", "n" * 256: "lower"})
    sides = [
        an_evaluation(dict.fromkeys(names, x), metric="m" * 256, run="r" * 128, n=n)
        for x, n in ((1.0, 90), (2.0, 90))
    ]

    verdict = a_verdict(sides[1], sides[0], suite=suite)

    assert len(verdict.sentence) <= MAX_SENTENCE


def test_the_sentence_says_how_much_was_judged_whenever_there_is_a_champion() -> None:
    for name, verdict in cases().items():
        said = f"{verdict.judged_cells} of {verdict.total_cells} cells judged" in verdict.sentence
        assert said == ("no champion" not in verdict.sentence), name


def test_the_line_of_every_kind_of_check() -> None:
    lines = {
        f"{name}, {i}": explain(check)
        for name, verdict in cases().items()
        for i, check in enumerate(verdict.checks)
        if check.outcome not in (Outcome.PASS, Outcome.IMPROVED)
    }

    assert_golden("checks", lines)


def test_a_check_that_passed_has_a_line_too() -> None:
    passed = [
        check for verdict in cases().values() for check in verdict.checks if check.outcome is Outcome.PASS
    ]

    assert all(explain(check) for check in passed)
    assert explain(Check(rule=Rule.COUNT, outcome=Outcome.PASS, required=True)) == "group counts: in order"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "–"),
        (421_200, "421,200"),
        (421200.0, "421,200"),
        (0.405, "0.405"),
        (1.422, "1.422"),
        (0.18148312, "0.1815"),
        (0.00046, "0.00046"),
        (4.6e-9, "4.6e-09"),
        (123456.7, "123,457"),
        (5.0, "5"),
        (1e22, "1e+22"),
        (-3.25, "-3.25"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (0.0, "0"),
    ],
)
def test_numbers_for_people(x: float | None, text: str) -> None:
    assert number(x) == text


def test_two_numbers_that_differ_look_different() -> None:
    assert numbers_apart(0.374, 0.37401) == ("0.374", "0.37401")
    assert numbers_apart(0.5, 0.25) == ("0.5", "0.25")
    assert numbers_apart(1.0, 1.0) == ("1", "1")
    assert numbers_apart(1.0, math.nextafter(1.0, 2.0)) == ("1", "1.0000000000000002")


@pytest.mark.parametrize(
    ("worsening", "text", "signed"),
    [
        (0.12, "12.0 % worse", "+12.0 %"),
        (-0.053, "5.3 % better", "-5.3 %"),
        (3.698, "370 % worse", "+370 %"),
        (0.0, "unchanged", "+0.0 %"),
        (1e9, "over 1,000,000 % worse", "+over 1,000,000 %"),
        (0.9999, "100 % worse", "+100 %"),
    ],
)
def test_percents_for_people(worsening: float, text: str, signed: str) -> None:
    assert percent(worsening) == text
    assert signed_percent(worsening) == signed


def test_an_undefined_worsening_has_no_percent() -> None:
    assert percent(None) == "by no known share"


def test_long_names_are_cut_in_the_middle_and_long_lists_at_the_end() -> None:
    assert shortened("a" * 30 + "b" * 30, 20) == "aaaaaaaaaaaaa…bbbbbb"
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"], 3) == "a, b and c"
    assert listed(["a", "b", "c", "d"]) == "a, b and 2 more"
