"""RULES.md, *Alerts*: what is drafted, and how one alert lives."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.alerts import (
    AlertDraft,
    AlertKind,
    AlertState,
    Level,
    State,
    changed_by_person,
    draft_override,
    drafts_from,
    fold,
)
from app.domain.evaluations import Position, Stated
from app.domain.notices import NoticeKind
from app.domain.policies import Policy, PolicyRule, Severity
from app.errors import InvalidInput
from tests.domain import test_sentences
from tests.domain.builders import a_suite, a_verdict, a_whole, an_evaluation
from tests.domain.golden import assert_golden

BOTH = {"a": 1.0, "b": 1.0}
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_text_of_every_kind_of_alert() -> None:
    texts = {}
    for name, verdict in test_sentences.cases().items():
        for draft in drafts_from(verdict, "run-6", "heights-val", "final"):
            lines = "\n".join(f"  {line.text}" for line in draft.lines)
            texts[f"{name}, {draft.kind}"] = f"{draft.level}: {draft.title}\n{lines}"
    override = draft_override(
        test_sentences.cases()["team b"], "run-6", "heights-val", "final", " the old split was wrong "
    )
    lines = "\n".join(f"  {line.text}" for line in override.lines)
    texts["override"] = f"{override.level}: {override.title}\n{lines}"

    assert_golden("alerts", texts)


def test_every_required_check_that_regressed_or_failed_alerts() -> None:
    suite = a_suite(metrics={"mse": None, "bc_violation": "limit"})
    policy = Policy(rules=(PolicyRule(metric="bc_violation", max=1.0),))
    candidate = an_evaluation(
        {"a": 2.0, "b": math.nan}, values=[a_whole(9.0, metric="bc_violation")], stated=Stated(n=7)
    )

    drafts = drafts_from(
        a_verdict(candidate, an_evaluation(BOTH), suite=suite, policy=policy), "r", "s", "final"
    )

    assert [(draft.kind, draft.level) for draft in drafts] == [
        (AlertKind.REGRESSION, Level.ERROR),
        (AlertKind.LIMIT, Level.ERROR),
        (AlertKind.INTEGRITY, Level.ERROR),
    ]
    # What is not even a number is worse than any share.
    assert [line.group for line in drafts[0].lines] == ["b", "overall", "a"]


def test_what_is_advisory_undecided_or_fine_does_not_alert() -> None:
    quiet = [
        a_verdict(an_evaluation(BOTH), an_evaluation(BOTH)),
        a_verdict(an_evaluation(BOTH)),
        a_verdict(an_evaluation(BOTH, n=3), an_evaluation(BOTH)),
        a_verdict(an_evaluation(BOTH, seeded=False, n={"a": 9, "b": 99}), an_evaluation(BOTH)),
        a_verdict(an_evaluation(BOTH), policy=Policy(rules=(PolicyRule(metric="absent", max=1.0),))),
    ]

    assert [drafts_from(verdict, "r", "s", "final") for verdict in quiet] == [()] * 5


def test_a_limit_of_severity_warn_alone_warns() -> None:
    policy = Policy(rules=(PolicyRule(metric="mse", max=0.5, severity=Severity.WARN),))

    (draft,) = drafts_from(a_verdict(an_evaluation(BOTH), policy=policy), "r", "s", "final")

    assert (draft.kind, draft.level) == (AlertKind.LIMIT, Level.WARN)


def test_the_regression_alert_begins_with_what_is_masked() -> None:
    verdict = a_verdict(an_evaluation({"a": 1.5, "b": 0.1}), an_evaluation(BOTH))

    (draft,) = drafts_from(verdict, "r", "s", "final")

    assert draft.lines[0].text == "the mean improved and hides 1 group that regressed: a"


@pytest.mark.parametrize("run", ["r", "r" * 128])
@pytest.mark.parametrize("suite", ["s", "s" * 128])
@pytest.mark.parametrize("stage", ["final", "g" * 128])
def test_a_title_stays_under_64_characters(run: str, suite: str, stage: str) -> None:
    for verdict in test_sentences.cases().values():
        drafts = [
            *drafts_from(verdict, run, suite, stage),
            draft_override(verdict, run, suite, stage, "because"),
        ]
        for draft in drafts:
            assert len(draft.title) < 64
            assert draft.title.startswith("r")


# One alert's life.


def a_draft(text: str = "run-6: 1 of 2 groups regressed (s)") -> AlertDraft:
    return AlertDraft(kind=AlertKind.REGRESSION, level=Level.ERROR, title=text, lines=())


def at(step: int, attempt: int = 1) -> Position:
    return Position(attempt=attempt, step=step, evaluation=f"e{attempt}.{step}")


def folded(
    current: AlertState | None, step: int, draft: AlertDraft | None, count: int = 1, now: datetime = NOON
) -> AlertState | None:
    return fold(current, newest_position=at(step), newest_draft=draft, failing_count=count, now=now)


def an_alert(**changes: object) -> AlertState:
    opened = folded(None, 1, a_draft())
    assert opened is not None
    return replace(opened, **changes)


def test_a_first_failure_opens_an_alert() -> None:
    alert = folded(None, 1, a_draft())

    assert alert is not None
    assert (alert.state, alert.count, alert.as_of, alert.opened_at) == (State.OPEN, 1, at(1), NOON)


def test_nothing_fails_and_nothing_ever_did() -> None:
    assert folded(None, 1, None, 0) is None


def test_a_repeat_counts_up_and_shows_the_newest() -> None:
    alert = folded(an_alert(), 2, a_draft("newer"), 2, NOON + HOUR)

    assert alert is not None
    assert (alert.state, alert.count, alert.title, alert.as_of) == (State.OPEN, 2, "newer", at(2))
    assert (alert.opened_at, alert.updated_at) == (NOON, NOON + HOUR)


def test_a_later_evaluation_that_passes_resolves() -> None:
    alert = folded(an_alert(), 2, None, 1, NOON + HOUR)

    assert alert is not None
    assert (alert.state, alert.resolved_at, alert.as_of) == (State.RESOLVED, NOON + HOUR, at(2))


def test_recurrence_opens_again() -> None:
    resolved = folded(an_alert(state=State.ACKNOWLEDGED, changed_by="ana"), 2, None)

    alert = folded(resolved, 3, a_draft(), 2, NOON + HOUR)

    assert alert is not None
    assert (alert.state, alert.opened_at, alert.changed_by, alert.resolved_at) == (
        State.OPEN,
        NOON + HOUR,
        None,
        None,
    )


def test_what_is_acknowledged_stays_so_while_it_still_fails() -> None:
    acknowledged = an_alert(state=State.ACKNOWLEDGED, changed_by="ana", reason="known")

    alert = folded(acknowledged, 2, a_draft(), 2)

    assert alert is not None
    assert (alert.state, alert.changed_by, alert.reason, alert.count) == (
        State.ACKNOWLEDGED,
        "ana",
        "known",
        2,
    )


@pytest.mark.parametrize(
    ("until", "state"),
    [(NOON + 2 * HOUR, State.MUTED), (NOON + HOUR, State.OPEN), (NOON, State.OPEN), (None, State.MUTED)],
)
def test_what_is_muted_stays_so_until_its_time(until: datetime | None, state: State) -> None:
    muted = an_alert(state=State.MUTED, muted_until=until, changed_by="ana", reason="holiday")

    alert = folded(muted, 2, a_draft(), 2, NOON + HOUR)

    assert alert is not None
    assert alert.state is state
    assert alert.opened_at == NOON
    assert alert.muted_until == (until if state is State.MUTED else None)


def test_what_a_person_resolved_stays_so_until_something_newer_fails() -> None:
    resolved = an_alert(state=State.RESOLVED, changed_by="ana", resolved_at=NOON)

    judged_again = folded(resolved, 1, a_draft("newer text"))
    newer = folded(resolved, 2, a_draft(), 2)

    assert judged_again == resolved
    assert newer is not None
    assert newer.state is State.OPEN


def test_when_the_passing_evaluation_turns_out_invalid_the_alert_opens_again() -> None:
    resolved = folded(an_alert(), 2, None)

    alert = folded(resolved, 1, a_draft())

    assert alert is not None
    assert alert.state is State.OPEN


def test_nothing_new_changes_nothing() -> None:
    alert = an_alert(state=State.ACKNOWLEDGED, changed_by="ana")

    assert folded(alert, 1, a_draft(), 1, NOON + HOUR) is alert
    resolved = folded(alert, 2, None)
    assert folded(resolved, 3, None, 1, NOON + HOUR) is resolved


def test_a_person_acknowledges_mutes_resolves_and_opens_again() -> None:
    alert = an_alert()

    acknowledged = changed_by_person(
        alert, state=State.ACKNOWLEDGED, until=None, reason=None, by="ana", now=NOON
    )
    muted = changed_by_person(
        alert, state=State.MUTED, until=NOON + HOUR, reason="holiday", by="ana", now=NOON
    )
    resolved = changed_by_person(alert, state=State.RESOLVED, until=None, reason="fixed", by="ana", now=NOON)
    opened = changed_by_person(muted, state=State.OPEN, until=None, reason=None, by="bo", now=NOON)

    assert (acknowledged.state, acknowledged.changed_by) == (State.ACKNOWLEDGED, "ana")
    assert (muted.state, muted.muted_until, muted.reason) == (State.MUTED, NOON + HOUR, "holiday")
    assert (resolved.state, resolved.resolved_at) == (State.RESOLVED, NOON)
    assert (opened.state, opened.muted_until, opened.changed_by) == (State.OPEN, None, None)


@pytest.mark.parametrize(
    ("current", "state", "until", "reason", "field"),
    [
        (State.OPEN, State.MUTED, None, "holiday", "until"),
        (State.OPEN, State.MUTED, NOON, "holiday", "until"),
        (State.OPEN, State.MUTED, NOON + HOUR, " ", "reason"),
        (State.OPEN, State.ACKNOWLEDGED, NOON + HOUR, None, "until"),
        (State.RESOLVED, State.OPEN, None, None, "state"),
        (State.RESOLVED, State.ACKNOWLEDGED, None, None, "state"),
    ],
)
def test_a_change_that_makes_no_sense_names_its_field(
    current: State, state: State, until: datetime | None, reason: str | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        changed_by_person(
            an_alert(state=current), state=state, until=until, reason=reason, by="ana", now=NOON
        )

    assert caught.value.field == field


def test_every_kind_of_alert_is_one_that_can_be_told() -> None:
    assert {kind.value for kind in AlertKind} <= {kind.value for kind in NoticeKind}
