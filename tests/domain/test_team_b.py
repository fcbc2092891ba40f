"""Team B's run 6 against run 2: better by every mean, three times worse on easy codes, and its sums do not add up."""

from __future__ import annotations

from functools import cache

import pytest

from app.domain.alerts import drafts_from
from app.domain.assess import AssessmentInput, Champion, assess, overall_value
from app.domain.evaluations import Evaluation, Loss, Position, Stated, Value
from app.domain.outcomes import Gate, Outcome, Rule, Verdict
from app.domain.policies import Policy, contradictions, policy_from_toml
from app.domain.promotion import EventKind, decide
from app.domain.suites import Suite, shares_of, suite_from_document
from tests.domain.builders import check_of, column, finding
from tests.domain.vector_files import rows_of

POLICY = """
[gap]
min = 0.02
max = 0.08

[[rule]]
suite = "heights-val"
metric = "log2_mse"
overall = true
max = 0.374

[[rule]]
suite = "heights-val"
metric = "log2_mse"
tier = "easy"
max = 0.15

[[rule]]
suite = "heights-val"
metric = "log2_mse"
tier = "medium"
max = 0.30

[[rule]]
suite = "heights-val"
metric = "log2_mse"
tier = "hard"
max = 1.30
"""


def a_run(column_name: str, rows_column: str, **more: object) -> Evaluation:
    values = tuple(
        Value(metric="log2_mse", group=row["group"], value=float(row[column_name]), n=int(row[rows_column]))
        for row in rows_of("team_b_groups.csv")
    )
    key = "run-2" if column_name == "run2" else "run-6"
    position = Position(attempt=1, step=1200, evaluation=key)
    return Evaluation(id=key, run=key, position=position, values=values, **more)


RUN_2 = a_run("run2", "run2_rows")
RUN_6 = a_run(
    "run6",
    "run6_stated_rows",
    stated=Stated(n=421_200, overall={"log2_mse": 0.181483}),
    loss=Loss(train=0.177264, val=0.181483),
)


@cache
def heights() -> Suite:
    document = {
        "groups": [{"name": row["group"], "tier": row["tier"]} for row in rows_of("team_b_groups.csv")],
        "metrics": {"log2_mse": None},
    }
    suite = suite_from_document("heights-val", 1, document, None)
    return suite_from_document("heights-val", 1, document, shares_of(RUN_2, suite))


def policy() -> Policy:
    return policy_from_toml(POLICY, version=1)


@cache
def verdict() -> Verdict:
    champion = Champion(evaluation=RUN_2, suite=heights())
    return assess(AssessmentInput(suite=heights(), candidate=RUN_6, champion=champion, policy=policy()))


def test_the_gate_is_closed_and_the_sentence_names_the_groups_that_the_mean_hides() -> None:
    assert verdict().gate is Gate.CLOSED
    assert verdict().sentence == (
        "Closed: 3 of 9 groups regressed against run-2 although the mean improved; worst k=5,m=2 +370 %; "
        "log2_mse in tier easy 0.4387 is above its limit 0.15; group counts add up to 374,400, not 421,200; "
        "3 more; 9 of 9 cells judged."
    )


@pytest.mark.parametrize(("group", "share"), [("k=4,m=2", 2.93), ("k=4,m=3", 3.26), ("k=5,m=2", 3.70)])
def test_easy_groups_regressed(group: str, share: float) -> None:
    check = check_of(verdict(), group, metric="log2_mse")

    assert check.outcome is Outcome.REGRESSED
    assert check.worsening == pytest.approx(share, abs=0.005)
    assert check.limit == pytest.approx(0.1 * (check.baseline or 0))


def test_the_six_other_groups_improved() -> None:
    improved = [
        c.group
        for c in verdict().checks
        if c.rule is Rule.REGRESSION
        and c.outcome is Outcome.IMPROVED
        and not str(c.group).startswith(("t", "o"))
    ]

    assert improved == ["k=4,m=4", "k=5,m=3", "k=6,m=2", "k=4,m=5", "k=5,m=4", "k=6,m=3"]


def test_masked_names_the_groups_though_overall_macro_and_geometric_mean_improve() -> None:
    check = finding(verdict(), Rule.MASKED)

    assert check is not None
    assert check is verdict().checks[0]
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "masked", False)
    assert check.detail == {
        "groups": ["k=4,m=2", "k=4,m=3", "k=5,m=2"],
        "aggregates": ["overall", "macro"],
        "improved": ["overall", "macro", "geomean_ratio"],
    }


def test_the_aggregates_are_the_computed_ones() -> None:
    def shown(name: str) -> tuple[float, float]:
        found = column(verdict(), name, metric="log2_mse")
        return round(found.value or 0, 4), round(found.baseline or 0, 4)

    # The suite weighs groups as run 2 measured them, equally; run 6's own n change nothing.
    assert shown("overall") == (0.2587, 0.5070)
    assert shown("macro") == (0.2587, 0.5070)
    assert shown("tier-balanced") == (0.2587, 0.5070)
    assert shown("geomean_ratio") == (0.7371, 1.0)
    assert shown("tier:easy") == (0.4387, 0.1023)
    worst = column(verdict(), "worst", metric="log2_mse")
    assert (worst.group, worst.value, worst.baseline) == ("k=5,m=2", 0.451, 0.096)


def test_counts_and_overall_do_not_reconcile() -> None:
    count, overall = finding(verdict(), Rule.COUNT), finding(verdict(), Rule.OVERALL)

    assert count is not None
    assert overall is not None
    assert (count.reason, count.detail) == ("count_mismatch", {"stated": 421_200, "groups": 374_400})
    assert overall.reason == "overall_mismatch"
    assert overall.detail["stated"] == 0.181483
    assert overall.detail["groups"] == pytest.approx(0.1865, abs=5e-5)


def test_with_the_counts_that_a_medium_group_must_have_had_both_reconcile() -> None:
    mended = a_run("run6", "run6_true_rows", stated=RUN_6.stated)
    champion = Champion(evaluation=RUN_2, suite=heights())

    found = assess(AssessmentInput(suite=heights(), candidate=mended, champion=champion, policy=policy()))

    count, overall = finding(found, Rule.COUNT), finding(found, Rule.OVERALL)
    assert count is not None
    assert overall is not None
    assert (count.outcome, overall.outcome) == (Outcome.PASS, Outcome.PASS)
    assert overall.detail["groups"] == pytest.approx(0.1813, abs=5e-5)


def test_the_gap_is_found_too_small_and_only_advises() -> None:
    check = finding(verdict(), Rule.GAP)

    assert check is not None
    assert (check.outcome, check.reason, check.required) == (Outcome.FAILED, "gap_too_small", False)
    assert check.candidate == pytest.approx(0.004219)


def test_success_criteria_hold_but_for_the_easy_tier() -> None:
    found = {c.group: c.outcome for c in verdict().checks if c.rule is Rule.LIMIT}

    assert found == {
        "overall": Outcome.PASS,
        "tier:easy": Outcome.FAILED,
        "tier:medium": Outcome.PASS,
        "tier:hard": Outcome.PASS,
    }


def test_the_mix_of_samples_shifted() -> None:
    check = finding(verdict(), Rule.MIX_SHIFT)

    assert check is not None
    assert check.outcome is Outcome.FAILED


def test_run_2_waits_for_a_champion_and_may_be_bootstrapped_with_a_reason() -> None:
    alone = assess(AssessmentInput(suite=heights(), candidate=RUN_2, champion=None, policy=policy()))

    assert alone.gate is Gate.CLOSED  # its overall of 0.507 is above 0.374
    kwargs = {"verdict": alone, "candidate": RUN_2, "champion": None, "suite": heights(), "policy": policy()}
    refused = decide(EventKind.BOOTSTRAP, reason=" ", **kwargs)
    allowed = decide(EventKind.BOOTSTRAP, reason="the only one we have", **kwargs)
    assert not refused.allowed
    assert [check.group for check in refused.unmet] == ["overall"]
    assert allowed.allowed


def test_run_6_is_not_promoted() -> None:
    champion = Champion(evaluation=RUN_2, suite=heights())

    decision = decide(
        EventKind.PROMOTE,
        verdict=verdict(),
        candidate=RUN_6,
        champion=champion,
        suite=heights(),
        policy=policy(),
        reason="it is so much better",
    )

    assert not decision.allowed
    codes = [reason.partition(":")[0] for reason in decision.reasons]
    assert codes == ["regressed"] * 4 + ["above_max", "count_mismatch", "overall_mismatch"]


def test_its_alerts_say_the_same_worst_first() -> None:
    drafts = drafts_from(verdict(), "run-6", "heights-val", "final")

    assert [draft.title for draft in drafts] == [
        "run-6: 3 of 9 groups regressed (heights-val)",
        "run-6: 1 limit not met (heights-val)",
        "run-6: 2 numbers do not add up (heights-val)",
    ]
    assert [line.group for line in drafts[0].lines] == [None, "k=5,m=2", "tier:easy", "k=4,m=3", "k=4,m=2"]


def test_the_overall_for_tables_is_the_servers() -> None:
    value = overall_value(heights(), RUN_6, "log2_mse")

    assert value is not None
    assert value.value == pytest.approx(0.2587, abs=5e-5)


def test_an_overall_of_028_contradicts_medium_020_and_hard_070() -> None:
    criteria = (
        POLICY.replace("max = 0.374", "max = 0.28")
        .replace("max = 0.30", "min = 0.20")
        .replace("max = 1.30", "min = 0.70")
    )

    (warning,) = contradictions(policy_from_toml(criteria), heights())

    assert warning.endswith("give overall ≥ 0.3, above its limit 0.28")
