"""What must always hold, in whatever order things arrive or are read."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.alerts import AlertState, State, drafts_from, fold
from app.domain.evaluations import Evaluation, Position
from app.domain.promotion import BaselineEvent, EventKind, champion_from
from tests.domain.builders import a_verdict, an_evaluation

# The same examples every time, on however busy a machine.
STEADY = settings(deadline=None, derandomize=True, max_examples=100)
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def _alert_after(arrivals: list[Evaluation], champion: Evaluation) -> AlertState | None:
    """What a service does with each arrival: judge, take the newest by position, fold."""
    seen: list[Evaluation] = []
    alert: AlertState | None = None
    for evaluation in arrivals:
        seen.append(evaluation)
        drafts = {
            e.id: next(iter(drafts_from(a_verdict(e, champion), "run-6", "s", "final")), None) for e in seen
        }
        newest = max(seen, key=lambda e: e.position.key())
        alert = fold(
            alert,
            newest_position=newest.position,
            newest_draft=drafts[newest.id],
            failing_count=sum(draft is not None for draft in drafts.values()),
            now=NOW,
        )
    return alert


@given(
    results=st.lists(
        st.tuples(st.integers(1, 3), st.none() | st.integers(0, 5), st.booleans()), min_size=1, max_size=6
    ),
    seed=st.integers(0, 2**32),
)
@STEADY
def test_arrival_order_does_not_change_where_an_alert_stands(
    results: list[tuple[int, int | None, bool]], seed: int
) -> None:
    champion = an_evaluation({"a": 1.0, "b": 1.0}, id="champion")
    in_order = [
        replace(
            an_evaluation({"a": 2.0 if fails else 1.0, "b": 1.0 + i / 100}, id=f"e{i}"),
            position=Position(attempt=attempt, step=step, evaluation=f"e{i}"),
        )
        for i, (attempt, step, fails) in enumerate(results)
    ]
    shuffled = in_order.copy()
    random.Random(seed).shuffle(shuffled)

    one, other = _alert_after(in_order, champion), _alert_after(shuffled, champion)

    def failing(alert: AlertState | None) -> tuple[object, ...] | None:
        # An alert that never opened and one that is resolved are both silent.
        if alert is None or alert.state is State.RESOLVED:
            return None
        return (alert.state, alert.title, alert.lines, alert.count, alert.as_of)

    assert failing(one) == failing(other)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([EventKind.PROMOTE, EventKind.ROLLBACK, EventKind.INVALIDATE]), st.integers(0, 9)
        ),
        max_size=9,
    ),
    invalid=st.sets(st.sampled_from("ABCDEFGHIJ")),
    seed=st.integers(0, 2**32),
)
@STEADY
def test_the_champion_is_a_valid_one_that_was_crowned_and_reading_order_does_not_matter(
    steps: list[tuple[EventKind, int]], invalid: set[str], seed: int
) -> None:
    events = [BaselineEvent(version=1, kind=EventKind.BOOTSTRAP, evaluation="A")]
    for kind, number in steps:
        version = len(events) + 1
        if kind is EventKind.PROMOTE:
            events.append(BaselineEvent(version=version, kind=kind, evaluation="ABCDEFGHIJ"[number]))
        else:
            target = events[number % len(events)]
            events.append(
                BaselineEvent(
                    version=version, kind=kind, evaluation=target.evaluation, to_version=target.version
                )
            )
    shuffled = events.copy()
    random.Random(seed).shuffle(shuffled)

    champion, version = champion_from(events, invalid)

    assert champion_from(shuffled, invalid) == (champion, version)
    assert champion_from(events, ())[0] == events[-1].evaluation
    if champion is not None:
        assert champion not in invalid
        assert any(event.evaluation == champion and event.version == version for event in events)
