"""Alerts about a training itself, before or without any evaluation: raised again and again, and settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from app.domain.alerts import TITLE_LENGTH, AlertKind, AlertLine, AlertState, Level, State, is_mute_over
from app.domain.outcomes import Outcome
from app.domain.sentences import shortened

# What a run may raise by itself, so that a loop that went wrong does not fill the inbox.
MOST_PER_RUN = 100


def raised(
    current: AlertState | None, *, kind: AlertKind, level: Level, title: str, text: str, now: datetime
) -> AlertState:
    """The alert after it was given cause for, once more perhaps.

    An acknowledged alert stays so, a muted one until its time; a resolved one opens again.

    Args:
        title: Cut to fewer than 64 characters.
        text: One line that says it all.
    """
    line = AlertLine(
        metric=None,
        group=None,
        outcome=Outcome.FAILED,
        reason=kind.value,
        baseline=None,
        candidate=None,
        worsening=None,
        text=text,
    )
    fresh = AlertState(
        state=State.OPEN,
        kind=kind,
        level=level,
        title=shortened(title, TITLE_LENGTH),
        lines=(line,),
        count=1 if current is None else current.count + 1,
        as_of=None,
        opened_at=now,
        updated_at=now,
    )
    if current is None or current.state is State.RESOLVED:
        return fresh
    if current.state is State.MUTED and is_mute_over(current, now):
        return replace(fresh, opened_at=current.opened_at)
    return replace(
        fresh,
        state=current.state,
        opened_at=current.opened_at,
        changed_by=current.changed_by,
        reason=current.reason,
        muted_until=current.muted_until,
    )


def settled(current: AlertState | None, *, now: datetime) -> AlertState | None:
    """The alert after its cause went away by itself."""
    if current is None or current.state is State.RESOLVED:
        return current
    return replace(
        current,
        state=State.RESOLVED,
        updated_at=now,
        resolved_at=now,
        changed_by=None,
        reason=None,
        muted_until=None,
    )
