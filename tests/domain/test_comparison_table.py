"""Every row of the table in RULES.md, *One metric, one group, against the champion*."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from app.domain.evaluations import Bound, Evaluation
from app.domain.outcomes import Gate, Outcome
from app.domain.policies import Combine, Policy, PolicyRule, Scope, ScopeKind
from app.domain.suites import Suite
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation, check_of

ONE = ("g",)
AT_LEAST, AT_MOST = {"g": Bound.AT_LEAST}, {"g": Bound.AT_MOST}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Two numbers in one group `g` and what must come of them."""

    before: float | None
    after: float | None
    outcome: Outcome
    reason: str | None = None
    required: bool = True
    worsening: float | None = None
    metric: str = "mse"
    spec: object = None
    policy: Policy = field(default_factory=Policy)
    n: int | None = 100
    n_before: int | None = 100
    stderr: float | None = None
    stderr_before: float | None = None
    bounds: dict[str, Bound] = field(default_factory=dict)
    bounds_before: dict[str, Bound] = field(default_factory=dict)
    notes: tuple[str, ...] | None = None


ABSOLUTE = Policy(rel_tol=None, abs_tol=0.01)
BOTH = Policy(rel_tol=0.10, abs_tol=0.5)
ANY = Policy(rel_tol=0.10, abs_tol=0.5, combine=Combine.ANY)
DEMANDING = Policy(rules=(PolicyRule(scope=Scope(kind=ScopeKind.GROUP, name="g"), required=True),))
LOWER_NO_IDEAL = {"direction": "lower"}
TARGET = {"direction": "target", "target": 5.0}

ROWS = {
    # The formula.
    "exactly +10 % passes": Row(before=1.0, after=1.1, outcome=Outcome.PASS, worsening=0.1),
    "exactly +10 % in binary passes": Row(before=0.3, after=0.33, outcome=Outcome.PASS),
    "a little over +10 % regresses": Row(before=1.0, after=1.1001, outcome=Outcome.REGRESSED),
    "+9.99 % passes": Row(before=1.0, after=1.0999, outcome=Outcome.PASS),
    "equal passes": Row(before=1.0, after=1.0, outcome=Outcome.PASS, worsening=0.0),
    "exactly -5 % is not improved": Row(before=1.0, after=0.95, outcome=Outcome.PASS),
    "-6 % is improved": Row(before=1.0, after=0.94, outcome=Outcome.IMPROVED, worsening=-0.06),
    "accuracy 0.95 to 0.86": Row(
        metric="accuracy", before=0.95, after=0.86, outcome=Outcome.REGRESSED, worsening=1.8
    ),
    "R² 0.99 to 0.90": Row(metric="r2", before=0.99, after=0.90, outcome=Outcome.REGRESSED, worsening=9.0),
    "R² from negative to less negative": Row(metric="r2", before=-0.5, after=-0.2, outcome=Outcome.IMPROVED),
    "no ideal, negative, worse": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-2.0, after=-1.7, outcome=Outcome.REGRESSED, worsening=0.15
    ),
    "no ideal, negative, within": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-2.0, after=-1.81, outcome=Outcome.PASS
    ),
    "no ideal, across zero": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-0.1, after=0.1, outcome=Outcome.REGRESSED, worsening=2.0
    ),
    "reward, higher without ideal": Row(
        metric="reward", spec="higher", before=-10.0, after=-8.0, outcome=Outcome.IMPROVED, worsening=-0.2
    ),
    "target, nearer from the other side": Row(
        metric="ph", spec=TARGET, before=6.0, after=4.5, outcome=Outcome.IMPROVED, worsening=-0.5
    ),
    "target, further": Row(
        metric="ph", spec=TARGET, before=6.0, after=3.0, outcome=Outcome.REGRESSED, worsening=1.0
    ),
    "absolute tolerance holds": Row(before=1.0, after=1.01, outcome=Outcome.PASS, policy=ABSOLUTE),
    "absolute tolerance exceeded": Row(before=1.0, after=1.02, outcome=Outcome.REGRESSED, policy=ABSOLUTE),
    "all tolerances must be exceeded": Row(before=1.0, after=1.4, outcome=Outcome.PASS, policy=BOTH),
    "any tolerance may be exceeded": Row(before=1.0, after=1.4, outcome=Outcome.REGRESSED, policy=ANY),
    # Not finite.
    "candidate NaN": Row(before=1.0, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate ∞": Row(before=1.0, after=math.inf, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate -∞": Row(before=1.0, after=-math.inf, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate NaN with too few samples": Row(
        before=1.0, after=math.nan, n=3, outcome=Outcome.FAILED, reason="non_finite"
    ),
    "both NaN": Row(before=math.nan, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"),
    "baseline NaN": Row(before=math.nan, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"),
    "baseline ∞": Row(before=math.inf, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"),
    # Beyond the ideal.
    "accuracy 1.2": Row(
        metric="accuracy", before=0.9, after=1.2, outcome=Outcome.FAILED, reason="impossible_value"
    ),
    "negative error": Row(before=0.1, after=-0.01, outcome=Outcome.FAILED, reason="impossible_value"),
    "float noise beyond the ideal": Row(before=0.1, after=-1e-13, outcome=Outcome.IMPROVED),
    "impossible baseline": Row(
        before=-0.1, after=0.1, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"
    ),
    "negative is possible without an ideal": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=0.1, after=-1.0, outcome=Outcome.IMPROVED
    ),
    # Scale ≤ zero_tol.
    "zero to zero": Row(before=0.0, after=0.0, outcome=Outcome.PASS),
    "tiny to zero": Row(before=1e-13, after=0.0, outcome=Outcome.IMPROVED),
    "perfect accuracy, worse": Row(
        metric="accuracy", before=1.0, after=0.99, outcome=Outcome.NOT_EVALUATED, reason="zero_baseline"
    ),
    "zero, worse, no abs_tol": Row(
        before=0.0, after=0.01, outcome=Outcome.NOT_EVALUATED, reason="zero_baseline"
    ),
    "zero, worse within abs_tol": Row(before=0.0, after=0.01, outcome=Outcome.PASS, policy=ABSOLUTE),
    "zero, worse beyond abs_tol": Row(before=0.0, after=0.02, outcome=Outcome.REGRESSED, policy=ABSOLUTE),
    "zero decides by abs_tol even with any": Row(before=0.0, after=0.4, outcome=Outcome.PASS, policy=ANY),
    "reward of zero, better": Row(
        metric="reward", spec="higher", before=0.0, after=1.0, outcome=Outcome.IMPROVED
    ),
    # Absent.
    "group absent in the candidate": Row(
        before=1.0, after=None, outcome=Outcome.FAILED, reason="missing_metric"
    ),
    "new on the candidate's side": Row(
        before=None, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="no_baseline_value", required=False
    ),
    "new on the candidate's side and NaN": Row(
        before=None, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"
    ),
    # Few samples.
    "candidate has too few": Row(
        before=1.0, after=9.0, n=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", required=False
    ),
    "baseline has too few": Row(
        before=1.0, after=9.0, n_before=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", required=False
    ),
    "exactly min_n is enough": Row(before=1.0, after=9.0, n=30, n_before=30, outcome=Outcome.REGRESSED),
    "too few in a demanded group": Row(
        before=1.0, after=9.0, n=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", policy=DEMANDING
    ),
    "n unknown is judged": Row(
        before=1.0, after=9.0, n=None, outcome=Outcome.REGRESSED, notes=("n_unknown", "single_seed")
    ),
    "n known": Row(before=1.0, after=9.0, outcome=Outcome.REGRESSED, notes=("single_seed",)),
    # Standard errors.
    "worse than two standard errors": Row(
        before=1.0, after=1.5, stderr=0.1, stderr_before=0.1, outcome=Outcome.REGRESSED
    ),
    "within two standard errors": Row(
        before=1.0,
        after=1.5,
        stderr=0.2,
        stderr_before=0.2,
        outcome=Outcome.INCONCLUSIVE,
        reason="small_sample",
    ),
    "standard error known on one side only": Row(
        before=1.0, after=1.5, stderr=9.0, outcome=Outcome.REGRESSED
    ),
    "a pass needs no standard error": Row(
        before=1.0, after=1.05, stderr=9.0, stderr_before=9.0, outcome=Outcome.PASS
    ),
    "an improvement needs none either": Row(
        before=1.0, after=0.5, stderr=9.0, stderr_before=9.0, outcome=Outcome.IMPROVED
    ),
    # Bounds.
    "≥ 10 against 1.0": Row(
        before=1.0, after=10.0, bounds=AT_LEAST, outcome=Outcome.REGRESSED, worsening=9.0
    ),
    "≥ 1.05 against 1.0": Row(
        before=1.0, after=1.05, bounds=AT_LEAST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "≤ 0.5 against 1.0": Row(before=1.0, after=0.5, bounds=AT_MOST, outcome=Outcome.IMPROVED),
    "≤ 1.05 against 1.0 is a pass at worst": Row(
        before=1.0, after=1.05, bounds=AT_MOST, outcome=Outcome.PASS
    ),
    "≤ 2.0 against 1.0": Row(
        before=1.0, after=2.0, bounds=AT_MOST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "1.0 against ≥ 10": Row(before=10.0, after=1.0, bounds_before=AT_LEAST, outcome=Outcome.IMPROVED),
    "11.5 against ≥ 10": Row(
        before=10.0, after=11.5, bounds_before=AT_LEAST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "2.0 against ≤ 1.0": Row(
        before=1.0, after=2.0, bounds_before=AT_MOST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "≥ 10 against ≥ 10": Row(
        before=10.0,
        after=10.0,
        bounds=AT_LEAST,
        bounds_before=AT_LEAST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
    "accuracy ≥ 0.99 against 0.95": Row(
        metric="accuracy", before=0.95, after=0.99, bounds=AT_LEAST, outcome=Outcome.IMPROVED
    ),
    "accuracy ≤ 0.86 against 0.95": Row(
        metric="accuracy", before=0.95, after=0.86, bounds=AT_MOST, outcome=Outcome.REGRESSED
    ),
    "accuracy ≤ 1.2 is possible": Row(
        metric="accuracy",
        before=0.95,
        after=1.2,
        bounds=AT_MOST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
    "accuracy ≥ 1.2 is not": Row(
        metric="accuracy",
        before=0.95,
        after=1.2,
        bounds=AT_LEAST,
        outcome=Outcome.FAILED,
        reason="impossible_value",
    ),
    "a bound that is NaN": Row(
        before=1.0, after=math.nan, bounds=AT_LEAST, outcome=Outcome.FAILED, reason="non_finite"
    ),
    "target, ≥ 9 against 6": Row(
        metric="ph", spec=TARGET, before=6.0, after=9.0, bounds=AT_LEAST, outcome=Outcome.REGRESSED
    ),
    "target, ≥ 3 against 6": Row(
        metric="ph",
        spec=TARGET,
        before=6.0,
        after=3.0,
        bounds=AT_LEAST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
}


def _sides(row: Row) -> tuple[Suite, Evaluation, Evaluation]:
    suite = a_suite(ONE, {row.metric: row.spec, "other": "limit"})
    # A limit metric keeps both evaluations and the group present whatever the row leaves out.
    before = an_evaluation(
        {} if row.before is None else {"g": row.before},
        metric=row.metric,
        n=row.n_before,
        stderr=row.stderr_before,
        bounds=row.bounds_before,
        values=an_evaluation({"g": 1.0}, metric="other").values,
    )
    after = an_evaluation(
        {} if row.after is None else {"g": row.after},
        metric=row.metric,
        n=row.n,
        stderr=row.stderr,
        bounds=row.bounds,
        values=an_evaluation({"g": 1.0}, metric="other").values,
    )
    return suite, before, after


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_cell_is_decided_by_its_row_of_the_table(row: Row) -> None:
    suite, before, after = _sides(row)

    check = check_of(a_verdict(after, before, suite=suite, policy=row.policy), "g", metric=row.metric)

    assert (check.outcome, check.reason, check.required) == (row.outcome, row.reason, row.required)
    if row.worsening is not None:
        assert check.worsening == pytest.approx(row.worsening)
    if row.notes is not None:
        assert check.notes == row.notes


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_nothing_but_a_pass_or_an_improvement_opens_the_gate(row: Row) -> None:
    suite, before, after = _sides(row)

    verdict = a_verdict(after, before, suite=suite, policy=row.policy)

    opens = row.outcome in (Outcome.PASS, Outcome.IMPROVED)
    # Two bounds leave the pooled overall without a value, so it stays undecided whatever the group says.
    censored = bool(row.bounds or row.bounds_before)
    assert (verdict.gate is Gate.OPEN) == (opens and not censored)


def test_the_champions_metric_that_the_candidate_lacks_fails_in_every_group() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": None})
    champion = an_evaluation(
        {"a": 1.0, "b": 1.0}, values=an_evaluation({"a": 2.0, "b": 2.0}, metric="mae").values
    )

    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}), champion, suite=suite)

    for group in ("a", "b", "overall"):
        check = check_of(verdict, group, metric="mae")
        assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "missing_metric", True)
    assert verdict.gate is Gate.CLOSED


def test_the_champions_group_that_the_candidate_lacks_fails() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(an_evaluation({"a": 0.5}), champion)

    check = check_of(verdict, "b")
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "missing_group", True)
    assert verdict.gate is Gate.CLOSED


def test_a_group_that_neither_side_has_is_advisory() -> None:
    suite = a_suite(("a", "b", "c"))

    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}), an_evaluation({"a": 1.0, "b": 1.0}), suite=suite)

    check = check_of(verdict, "c")
    assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "missing_group", False)
    assert verdict.gate is Gate.OPEN


def test_a_group_that_the_suite_no_longer_lists_is_not_asked_for() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(
        an_evaluation({"a": 1.0}), champion, suite=a_suite(("a",), version=2), champion_suite=a_suite()
    )

    check = check_of(verdict, "b")
    assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "incomparable", False)
    assert verdict.gate is Gate.OPEN


def test_a_suite_that_stops_listing_groups_still_asks_for_those_of_the_champion() -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0})

    verdict = a_verdict(
        an_evaluation({"a": 1.0}), champion, suite=a_suite((), version=2), champion_suite=a_suite()
    )

    assert check_of(verdict, "b").reason == "missing_group"
    assert verdict.gate is Gate.CLOSED


def test_without_a_champion_every_value_waits_for_one() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.0, "b": 1.0}))

    checks = [check_of(verdict, group) for group in ("a", "b", "overall")]
    assert {(c.outcome, c.reason, c.required) for c in checks} == {
        (Outcome.NOT_EVALUATED, "no_baseline", True)
    }
    assert verdict.gate is Gate.UNDECIDED


def test_a_value_that_is_not_finite_fails_without_a_champion_too() -> None:
    verdict = a_verdict(an_evaluation({"a": math.nan, "b": 1.0}))

    assert check_of(verdict, "a").reason == "non_finite"
    assert verdict.gate is Gate.CLOSED


@pytest.mark.parametrize("field_name", ["dataset", "dataset_version", "split", "protocol"])
def test_another_dataset_split_or_protocol_compares_nowhere(field_name: str) -> None:
    new, old = a_suite(version=2, **{field_name: "new"}), a_suite(**{field_name: "old"})

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    for group in ("a", "b", "overall"):
        check = check_of(verdict, group)
        assert (check.outcome, check.reason, check.required) == (Outcome.NOT_EVALUATED, "incomparable", True)
        assert check.detail["fields"] == [field_name]
    assert verdict.gate is Gate.UNDECIDED


def test_another_definition_of_a_group_makes_that_group_incomparable() -> None:
    old = a_suite(({"name": "a", "definition": "k = 4"}, "b"))
    new = a_suite(({"name": "a", "definition": "k = 5"}, "b"), version=2)

    verdict = a_verdict(
        an_evaluation({"a": 9.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    assert check_of(verdict, "a").reason == "incomparable"
    assert check_of(verdict, "a").detail["fields"] == ["definition"]
    assert check_of(verdict, "b").outcome is Outcome.PASS
    overall = check_of(verdict, "overall")
    assert overall.outcome is Outcome.PASS
    assert overall.detail == {"groups_used": 1, "groups_total": 2, "left_out": {"a": "incomparable"}}


def test_another_definition_of_a_metric_makes_that_metric_incomparable() -> None:
    old = a_suite(metrics={"mse": {"unit": "kPa"}})
    new = a_suite(metrics={"mse": {"unit": "bar"}}, version=2)

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 1.0}),
        an_evaluation({"a": 1.0, "b": 1.0}),
        suite=new,
        champion_suite=old,
    )

    assert check_of(verdict, "a").detail["fields"] == ["unit"]
    assert check_of(verdict, "overall").reason == "incomparable"


def test_labels_order_roles_and_additions_keep_the_champion() -> None:
    old = a_suite(("a", "b"), {"mse": None, "mae": None})
    new = a_suite(
        ({"name": "new"}, {"name": "b", "label": "B"}, "a"),
        {"mae": {"role": "secondary"}, "mse": None, "rmse": "limit"},
        version=2,
    )
    numbers = {"a": 1.0, "b": 1.0}
    sides = an_evaluation(numbers, values=an_evaluation(numbers, metric="mae").values)

    verdict = a_verdict(sides, sides, suite=new, champion_suite=old)

    assert check_of(verdict, "a").outcome is Outcome.PASS
    assert check_of(verdict, "overall").outcome is Outcome.PASS
    assert check_of(verdict, "overall", metric="mae").outcome is Outcome.PASS
    assert verdict.gate is Gate.OPEN


def test_a_secondary_metric_is_judged_overall_only_and_advises() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}})
    good, bad = {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 5.0}

    verdict = a_verdict(
        an_evaluation(good, values=an_evaluation(bad, metric="mae").values),
        an_evaluation(good, values=an_evaluation(good, metric="mae").values),
        suite=suite,
    )

    of_mae = [check for check in verdict.checks if check.metric == "mae"]
    assert [(c.group, c.outcome, c.required) for c in of_mae] == [("overall", Outcome.REGRESSED, False)]
    assert verdict.gate is Gate.OPEN


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


def test_a_secondary_metrics_impossible_group_is_found_though_no_check_looks_there() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "mae": {"role": "secondary"}})
    good = {"a": 1.0, "b": 1.0}

    verdict = a_verdict(
        an_evaluation(good, values=an_evaluation({"a": -0.5, "b": 3.0}, metric="mae").values),
        an_evaluation(good, values=an_evaluation(good, metric="mae").values),
        suite=suite,
    )

    check = check_of(verdict, "a", metric="mae")
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "impossible_value", False)


def test_a_limit_metric_is_never_compared() -> None:
    suite = a_suite(("a", "b"), {"mse": None, "bc_violation": "limit"})
    numbers = {"a": 1.0, "b": 1.0}

    verdict = a_verdict(
        an_evaluation(numbers, values=[a_whole(9.0, metric="bc_violation")]),
        an_evaluation(numbers, values=[a_whole(1.0, metric="bc_violation")]),
        suite=suite,
    )

    assert not [check for check in verdict.checks if check.metric == "bc_violation"]
    assert verdict.gate is Gate.OPEN


def test_a_metric_is_not_asked_for_where_it_does_not_apply() -> None:
    suite = a_suite(("a", "b"), {"mse": {"groups": ["a"]}})

    verdict = a_verdict(
        an_evaluation({"a": 1.0, "b": 99.0}), an_evaluation({"a": 1.0, "b": 1.0}), suite=suite
    )

    assert [check.group for check in verdict.checks] == ["overall", "a"]
    assert verdict.gate is Gate.OPEN


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


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (-1e308, 1e308, Outcome.REGRESSED),
        (1e308, -1e308, Outcome.IMPROVED),
        (1.7e308, 1.7e308, Outcome.PASS),
        (1e-300, 1e308, Outcome.NOT_EVALUATED),
        (5e-324, 1e-323, Outcome.NOT_EVALUATED),
    ],
)
def test_extreme_numbers_keep_their_sign(before: float, after: float, outcome: Outcome) -> None:
    suite = a_suite(ONE, {"nll": "lower"})

    verdict = a_verdict(
        an_evaluation({"g": after}, metric="nll"), an_evaluation({"g": before}, metric="nll"), suite=suite
    )

    check = check_of(verdict, "g", metric="nll")
    assert check.outcome is outcome
    assert check.worsening is None or math.isfinite(check.worsening)
    assert check.limit is None or math.isfinite(check.limit)


def test_denormal_numbers_are_compared_when_zero_tol_lets_them() -> None:
    suite = a_suite(ONE, {"nll": "lower"})

    verdict = a_verdict(
        an_evaluation({"g": 1e-322}, metric="nll"),
        an_evaluation({"g": 5e-323}, metric="nll"),
        suite=suite,
        policy=Policy(zero_tol=0.0),
    )

    check = check_of(verdict, "g", metric="nll")
    assert check.outcome is Outcome.REGRESSED
    assert check.worsening == pytest.approx(1.0)
