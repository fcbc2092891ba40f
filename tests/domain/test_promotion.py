"""RULES.md, *Promotion*: who may be champion, and who is after a step back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from app.domain.assess import AssessmentInput, Champion, assess
from app.domain.evaluations import Evaluation, Loss, Purpose, Stated, Validity
from app.domain.outcomes import Gate
from app.domain.policies import Policy, PolicyRule, Severity
from app.domain.promotion import (
    BaselineEvent,
    Decision,
    EventKind,
    champion_from,
    decide,
    needs_bootstrap,
    rollback_event,
    rollback_target,
)
from app.domain.suites import Suite
from app.errors import Conflict, InvalidInput
from tests.domain.builders import a_suite, a_whole, an_evaluation

BOTH = {"a": 1.0, "b": 1.0}


def decided(
    kind: EventKind,
    candidate: Evaluation,
    champion: Evaluation | None = None,
    *,
    suite: Suite | None = None,
    champion_suite: Suite | None = None,
    policy: Policy | None = None,
    reason: str | None = None,
) -> Decision:
    suite, policy = suite or a_suite(), policy or Policy()
    holder = None if champion is None else Champion(evaluation=champion, suite=champion_suite or suite)
    verdict = assess(AssessmentInput(suite=suite, candidate=candidate, champion=holder, policy=policy))
    return decide(
        kind, verdict=verdict, candidate=candidate, champion=holder, suite=suite, policy=policy, reason=reason
    )


def a_champion(groups: dict[str, float] | None = None, **more: object) -> Evaluation:
    return an_evaluation(groups or BOTH, id="champion", run="run-2", **more)


def codes(decision: Decision) -> list[str]:
    assert decision.allowed == (not decision.reasons)
    return [reason.partition(":")[0] for reason in decision.reasons]


# Promote.


def test_an_open_gate_and_an_overall_not_worse_promote() -> None:
    assert codes(decided(EventKind.PROMOTE, an_evaluation({"a": 0.9, "b": 1.0}), a_champion())) == []
    assert codes(decided(EventKind.PROMOTE, an_evaluation(BOTH), a_champion())) == []


def test_an_open_gate_with_a_slightly_worse_overall_does_not_promote() -> None:
    decision = decided(EventKind.PROMOTE, an_evaluation({"a": 1.0, "b": 1.02}), a_champion())

    assert decision.reasons == ("not_better: overall mse 1.01 is worse than the champion's 1",)


def test_float_noise_is_not_worse() -> None:
    assert codes(decided(EventKind.PROMOTE, an_evaluation({"a": 1.0 + 1e-15, "b": 1.0}), a_champion())) == []
    perfect = a_champion({"a": 0.0, "b": 0.0})
    assert codes(decided(EventKind.PROMOTE, an_evaluation({"a": 0.0, "b": 0.0}), perfect)) == []


def test_macro_decides_where_the_lead_metric_does_not_pool() -> None:
    suite = a_suite(("a", "b"), {"nrmse": None})
    champion = a_champion(metric="nrmse", values=[a_whole(1.0, metric="nrmse")])
    # The stated overall is better, the mean of the groups is not.
    candidate = an_evaluation({"a": 1.0, "b": 1.05}, metric="nrmse", values=[a_whole(0.9, metric="nrmse")])

    decision = decided(EventKind.PROMOTE, candidate, champion, suite=suite)

    assert decision.reasons == ("not_better: macro nrmse 1.025 is worse than the champion's 1",)


def test_a_stated_overall_decides_where_nothing_else_is_there() -> None:
    suite = a_suite((), {"nrmse": None})
    champion = an_evaluation(values=[a_whole(1.0, metric="nrmse")], id="champion")

    better = an_evaluation(values=[a_whole(0.9, metric="nrmse")])
    worse = an_evaluation(values=[a_whole(1.01, metric="nrmse")])

    assert codes(decided(EventKind.PROMOTE, better, champion, suite=suite)) == []
    assert codes(decided(EventKind.PROMOTE, worse, champion, suite=suite)) == ["not_better"]


def test_better_is_higher_for_a_higher_is_better_metric() -> None:
    suite = a_suite(("a",), {"accuracy": None})
    champion = a_champion({"a": 0.90}, metric="accuracy")

    up, down = (an_evaluation({"a": x}, metric="accuracy") for x in (0.95, 0.895))

    assert codes(decided(EventKind.PROMOTE, up, champion, suite=suite)) == []
    assert codes(decided(EventKind.PROMOTE, down, champion, suite=suite)) == ["not_better"]


def test_a_closed_gate_refuses_with_its_reasons() -> None:
    candidate = an_evaluation({"a": 1.5, "b": 0.1}, stated=Stated(n=7))

    assert codes(decided(EventKind.PROMOTE, candidate, a_champion())) == ["regressed", "count_mismatch"]


def test_an_undecided_gate_refuses_with_what_it_waits_for() -> None:
    few = decided(EventKind.PROMOTE, an_evaluation(BOTH, n=3), a_champion())
    limit = Policy(rules=(PolicyRule(metric="bc_violation", max=1.0),))
    waiting = decided(EventKind.PROMOTE, an_evaluation(BOTH), a_champion(), policy=limit)

    assert codes(few) == ["gate_undecided"]
    assert codes(waiting) == ["missing_metric"]


def test_without_a_champion_only_a_bootstrap_promotes() -> None:
    assert codes(decided(EventKind.PROMOTE, an_evaluation(BOTH))) == ["no_champion"]
    assert codes(decided(EventKind.BOOTSTRAP, an_evaluation(BOTH))) == []
    assert codes(decided(EventKind.BOOTSTRAP, an_evaluation(BOTH), a_champion())) == ["has_champion"]


@pytest.mark.parametrize("name", ["dataset", "dataset_version", "split", "protocol"])
def test_after_another_dataset_split_or_protocol_the_next_promotion_is_a_bootstrap(name: str) -> None:
    old, new = a_suite(), a_suite(version=2, **{name: "new"})
    former = Champion(evaluation=a_champion(), suite=old)

    assert needs_bootstrap(former, new)
    sides = {"candidate": an_evaluation(BOTH), "champion": a_champion(), "suite": new, "champion_suite": old}
    assert codes(decided(EventKind.PROMOTE, **sides)) == ["no_champion"]
    assert codes(decided(EventKind.BOOTSTRAP, **sides)) == []


def test_other_weights_or_labels_need_no_bootstrap() -> None:
    weighted = a_suite(({"name": "a", "weight": 1, "label": "A"}, {"name": "b", "weight": 2}), version=2)

    assert not needs_bootstrap(Champion(evaluation=a_champion(), suite=a_suite()), weighted)


# Bootstrap.


@pytest.mark.parametrize(
    ("candidate", "code"),
    [
        (an_evaluation(BOTH, stated=Stated(n=7)), "count_mismatch"),
        (an_evaluation(BOTH, stated=Stated(overall={"mse": 9.0})), "overall_mismatch"),
        (an_evaluation(BOTH, loss=Loss(total=1.0, parts={"a": 0.5})), "loss_decomposition"),
        (an_evaluation({"a": -1.0, "b": 3.0}), "impossible_value"),
        (an_evaluation({"a": math.nan, "b": 1.0}), "non_finite"),
        (an_evaluation(), "no_lead_value"),
        (an_evaluation(BOTH, validity=Validity.INVALID), "invalid"),
        (an_evaluation(BOTH, run_validity=Validity.INVALID), "invalid"),
        (an_evaluation(BOTH, purpose=Purpose.PROGRESS), "progress"),
    ],
)
def test_a_bootstrap_needs_a_sound_evaluation(candidate: Evaluation, code: str) -> None:
    found = codes(decided(EventKind.BOOTSTRAP, candidate, reason="because"))

    assert found
    assert set(found) == {code}


def test_advisory_findings_do_not_hinder_a_bootstrap() -> None:
    candidate = an_evaluation(BOTH, n={"a": 10, "b": 990}, seeded=False, run_validity=Validity.SUSPECT)

    assert codes(decided(EventKind.BOOTSTRAP, candidate)) == []


def test_limits_not_met_are_listed_and_need_a_reason() -> None:
    policy = Policy(
        rules=(
            PolicyRule(metric="mse", max=0.5),
            PolicyRule(metric="bc_violation", max=1.0),
            PolicyRule(metric="mse", max=5.0),
            PolicyRule(metric="mse", max=0.1, severity=Severity.WARN),
        )
    )

    silent = decided(EventKind.BOOTSTRAP, an_evaluation(BOTH), policy=policy, reason="  ")
    spoken = decided(EventKind.BOOTSTRAP, an_evaluation(BOTH), policy=policy, reason="we begin somewhere")

    assert codes(silent) == ["limits_not_met"]
    assert codes(spoken) == []
    assert [(c.metric, c.reason) for c in spoken.unmet] == [
        ("mse", "above_max"),
        ("bc_violation", "missing_metric"),
    ]


def test_a_limit_that_is_not_finite_cannot_be_excused() -> None:
    suite = a_suite(metrics={"mse": None, "bc_violation": "limit"})
    candidate = an_evaluation(BOTH, values=[a_whole(math.nan, metric="bc_violation")])
    policy = Policy(rules=(PolicyRule(metric="bc_violation", max=1.0),))

    decision = decided(EventKind.BOOTSTRAP, candidate, suite=suite, policy=policy, reason="never mind")

    assert codes(decision) == ["non_finite"]


# Override.


def test_an_override_passes_a_closed_gate_but_not_without_a_reason() -> None:
    worse = an_evaluation({"a": 9.0, "b": 9.0})

    assert codes(decided(EventKind.OVERRIDE, worse, a_champion(), reason="the old data were wrong")) == []
    assert codes(decided(EventKind.OVERRIDE, worse, a_champion(), reason=" ")) == ["no_reason"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [EventKind.PROMOTE, EventKind.BOOTSTRAP, EventKind.OVERRIDE])
def test_what_is_not_finite_is_never_promoted_by_any_means(kind: EventKind, value: float) -> None:
    decision = decided(kind, an_evaluation({"a": value, "b": 1.0}), a_champion(), reason="trust me")

    assert not decision.allowed
    assert "non_finite" in codes(decision)


def test_the_champion_is_not_promoted_again() -> None:
    assert "already_champion" in codes(
        decided(EventKind.OVERRIDE, a_champion(), a_champion(), reason="again")
    )


@pytest.mark.parametrize("kind", [EventKind.ROLLBACK, EventKind.INVALIDATE])
def test_a_step_back_is_not_decided_here(kind: EventKind) -> None:
    assert codes(decided(kind, an_evaluation(BOTH), a_champion())) == ["not_a_promotion"]


# Events.


def events(
    *steps: tuple[EventKind, str | None] | tuple[EventKind, str | None, int | None],
) -> list[BaselineEvent]:
    return [
        BaselineEvent(
            version=i, kind=step[0], evaluation=step[1], to_version=step[2] if len(step) > 2 else None
        )
        for i, step in enumerate(steps, start=1)
    ]


BOOT, PROMOTE, OVERRIDE = EventKind.BOOTSTRAP, EventKind.PROMOTE, EventKind.OVERRIDE
BACK, STRUCK = EventKind.ROLLBACK, EventKind.INVALIDATE
A, B, C = (BOOT, "A"), (PROMOTE, "B"), (PROMOTE, "C")


@pytest.mark.parametrize(
    ("history", "invalid", "champion"),
    [
        pytest.param([], (), (None, None), id="no event"),
        pytest.param([A], (), ("A", 1), id="the first"),
        pytest.param([A, B, C], (), ("C", 3), id="the last"),
        pytest.param([A, B, C], ("C",), ("B", 2), id="the last is invalid"),
        pytest.param([A, B, C], ("B", "C"), ("A", 1), id="two are invalid"),
        pytest.param([A, B, C], ("A", "B", "C"), (None, None), id="none is left: vacant"),
        pytest.param([A, B, C], ("A",), ("C", 3), id="an old one is invalid"),
        pytest.param([A, B, C, (BACK, "A", 1)], (), ("A", 4), id="rolled back"),
        pytest.param(
            [A, B, C, (BACK, "A", 1)], ("A",), (None, None), id="what was rolled back does not return"
        ),
        pytest.param([A, B, C, (BACK, "B", 2)], ("B",), ("A", 1), id="before what was rolled back"),
        pytest.param([A, B, (BACK, "A", 1), C], ("C",), ("A", 3), id="promoted after a rollback"),
        pytest.param(
            [A, B, (BACK, "A", 1), (OVERRIDE, "B")], (), ("B", 4), id="promoted again after a rollback"
        ),
        pytest.param([A, B, (STRUCK, "A", 1)], (), ("A", 3), id="restored, but not crowned again"),
        pytest.param([A, B, (STRUCK, "A", 1), C], ("C",), ("A", 3), id="a restored one is passed over"),
        pytest.param([A, (STRUCK, None), (BOOT, "B")], ("B",), (None, None), id="vacant in between"),
        pytest.param([A, B, C, (BACK, "B", 2), (BACK, "A", 1)], (), ("A", 5), id="rolled back twice"),
        pytest.param([A, B, (BACK, "A", 1), C, (BACK, "A", 3)], (), ("A", 5), id="rolled back to a rollback"),
    ],
)
def test_the_champion_follows_from_events_and_validity(
    history: Sequence[tuple[EventKind, str]],
    invalid: tuple[str, ...],
    champion: tuple[str | None, int | None],
) -> None:
    assert champion_from(events(*history), invalid) == champion


def test_the_order_in_which_events_are_read_does_not_matter() -> None:
    history = events(A, B, C, (BACK, "B", 2))

    assert champion_from(history[::-1], ()) == champion_from(history, ())


def test_a_rollback_goes_to_the_previous_champion_or_to_the_one_asked_for() -> None:
    history = events(A, B, C)

    assert rollback_target(history, None, ()) == "B"
    assert rollback_target(history, None, ("B",)) == "A"
    assert rollback_target(history, 1, ()) == "A"
    assert rollback_event(history, None, ()).version == 2


def test_a_rollback_may_return_to_what_was_rolled_back() -> None:
    assert rollback_target(events(A, B, (BACK, "A", 1)), 2, ()) == "B"


@pytest.mark.parametrize(
    ("to_version", "invalid", "error", "message"),
    [
        (9, (), InvalidInput, "event 9 made no champion; events that did: 1, 2, 3"),
        (1, ("A",), Conflict, "the champion of event 1 is invalid"),
        (3, (), Conflict, "is the champion already"),
        (None, ("A", "B"), Conflict, "there is no earlier valid champion"),
    ],
)
def test_a_rollback_that_cannot_be_says_why(
    to_version: int | None, invalid: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        rollback_target(events(A, B, C), to_version, invalid)


def test_a_rollback_of_the_only_champion_says_what_to_do() -> None:
    with pytest.raises(Conflict, match="promote or bootstrap another"):
        rollback_target(events(A), None, ())


def test_the_gate_of_a_promotion_is_the_verdicts() -> None:
    candidate = an_evaluation({"a": 0.9, "b": 0.9})
    inputs = AssessmentInput(
        suite=a_suite(),
        candidate=candidate,
        champion=Champion(evaluation=a_champion(), suite=a_suite()),
        policy=Policy(),
    )

    assert assess(inputs).gate is Gate.OPEN
