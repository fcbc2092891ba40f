"""The fourteen cases that team A's own tracker got wrong; RULES.md decides where the list says something else."""

from __future__ import annotations

import pytest

from app.domain.outcomes import Outcome, Rule
from app.domain.policies import Policy, policy_from_toml, template
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation
from tests.domain.vector_files import rows_of

PDE = policy_from_toml(template("pde"))
PHYSICS = ("conservation_gap", "bc_violation", "negativity_penalty")

# What RULES.md makes of each case: the check's rule, outcome and reason.
EXPECTED = {
    "exactly +10%": (Rule.REGRESSION, Outcome.PASS, None),
    "+9.99%": (Rule.REGRESSION, Outcome.PASS, None),
    # The list asks for an absolute fallback; RULES.md has one only where the policy gives abs_tol.
    "zero baseline": (Rule.REGRESSION, Outcome.NOT_EVALUATED, "zero_baseline"),
    "nan current": (Rule.REGRESSION, Outcome.FAILED, "non_finite"),
    "inf current": (Rule.REGRESSION, Outcome.FAILED, "non_finite"),
    "negative baseline": (Rule.REGRESSION, Outcome.IMPROVED, None),
    "missing in current": (Rule.REGRESSION, Outcome.FAILED, "missing_metric"),
    "missing in baseline": (Rule.REGRESSION, Outcome.NOT_EVALUATED, "no_baseline_value"),
    "no baseline file": (Rule.REGRESSION, Outcome.NOT_EVALUATED, "no_baseline"),
    "higher-is-better drop": (Rule.REGRESSION, Outcome.REGRESSED, None),
    "physics gate at limit": (Rule.LIMIT, Outcome.PASS, None),
    "physics metric absent": (Rule.LIMIT, Outcome.NOT_EVALUATED, "missing_metric"),
}
ELSEWHERE = {
    "string value": "a value that is no number never reaches the domain: the API answers 422",
    "per-group worse, overall better": "test_team_b.py",
}
CASES = {row["case"]: row for row in rows_of("baseline_tracker_edge_cases.csv")}


def test_every_case_of_the_list_is_decided_here_or_elsewhere() -> None:
    assert CASES.keys() == EXPECTED.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("case", EXPECTED)
def test_the_case_is_decided_as_the_rules_say(case: str) -> None:
    row = CASES[case]
    rule, outcome, reason = EXPECTED[case]
    metric = row["metric"]
    spec = "limit" if rule is Rule.LIMIT else None if metric in ("nrmse", "r2", "accuracy") else "lower"
    suite = a_suite((), {"nrmse": None, **dict.fromkeys(PHYSICS, "limit"), metric: spec})
    # A second metric keeps a side alive that the case leaves empty.
    other = [a_whole(0.1, metric="nrmse")] if metric != "nrmse" else []
    after = [a_whole(float(row["current"]), metric=metric)] if row["current"] else []
    before = [a_whole(float(row["baseline"]), metric=metric)] if row["baseline"] else []
    champion = None if case == "no baseline file" else an_evaluation(values=[*other, *before])

    verdict = a_verdict(
        an_evaluation(values=[*other, *after]),
        champion,
        suite=suite,
        policy=PDE if rule is Rule.LIMIT else Policy(),
    )

    (check,) = (c for c in verdict.checks if c.rule is rule and c.metric == metric)
    assert (check.outcome, check.reason) == (outcome, reason)
