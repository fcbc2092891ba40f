"""Alerts: something a person must see (RULES.md, *Alerts*).

One alert per (project, suite, stage, run group or else run, kind). Its state follows from the newest
candidate evaluation of its subject and from what people did, never from the order in which evaluations
arrived. Alerts about the training itself, without any evaluation, are raised by `domain.run_alerts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from app.domain.evaluations import OVERALL, Position
from app.domain.gate import CLOSING, blocks
from app.domain.outcomes import Check, Outcome, Rule, Verdict
from app.domain.sentences import explain, shortened
from app.domain.suites import is_reserved
from app.errors import InvalidInput

TITLE_LENGTH = 63


class AlertKind(StrEnum):
    REGRESSION = "regression"
    LIMIT = "limit"
    INTEGRITY = "integrity"
    OVERRIDE = "override"
    TRAINING_LIMIT = "training_limit"
    LOST = "lost"
    ATTEMPTS = "attempts"
    RUN = "run"


class Level(StrEnum):
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MUTED = "muted"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """One metric × group row; numbers and words as in Check, `text` says it all in one line."""

    metric: str | None
    group: str | None
    outcome: Outcome
    reason: str | None
    baseline: float | None
    candidate: float | None
    worsening: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDraft:
    """What one evaluation gives cause for.

    Args:
        title: Under 64 characters.
        lines: Worst first.
    """

    kind: AlertKind
    level: Level
    title: str
    lines: tuple[AlertLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """An alert as it stands.

    Args:
        count: How many evaluations of the subject failed this way.
        as_of: The newest evaluation, from which the state follows; None for an alert about the training.
        changed_by, reason: Who acknowledged, muted or resolved it, and why; None when nobody did since it
            opened.
        muted_until: Set exactly while muted.
    """

    state: State
    kind: AlertKind
    level: Level
    title: str
    lines: tuple[AlertLine, ...]
    count: int
    as_of: Position | None
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    changed_by: str | None = None
    reason: str | None = None
    muted_until: datetime | None = None


def drafts_from(verdict: Verdict, candidate_run: str, suite_key: str, stage: str) -> tuple[AlertDraft, ...]:
    """One draft for each kind of trouble: every required check that regressed or failed, worst first.

    A broken limit of severity warn is listed too; alone it makes a draft of level warn. The regression draft
    begins with what is masked.
    """
    drafts = []
    # Of hundreds of checks few give cause, and only for those the rest is looked at.
    kinds = {check.rule.alert_kind for check in verdict.checks if blocks(check) or _is_warning(check)}
    for kind in (AlertKind.REGRESSION, AlertKind.LIMIT, AlertKind.INTEGRITY):
        if kind.value not in kinds:
            continue
        checks = [check for check in verdict.checks if check.rule.alert_kind == kind.value]
        required = [check for check in checks if blocks(check)]
        advised = [check for check in checks if kind is AlertKind.LIMIT and _is_warning(check)]
        if not required and not advised:
            continue
        masked = [check for check in checks if check.rule is Rule.MASKED]
        lines = [*masked, *_worst_first(required), *_worst_first(advised)]
        drafts.append(
            AlertDraft(
                kind=kind,
                level=Level.ERROR if required else Level.WARN,
                title=_title(
                    candidate_run, _what(kind, required or advised, verdict.checks), suite_key, stage
                ),
                lines=tuple(map(_line, lines)),
            )
        )
    return tuple(drafts)


def draft_override(
    verdict: Verdict, candidate_run: str, suite_key: str, stage: str, reason: str
) -> AlertDraft:
    """The alert of an override: level warn, the reason first, then what the gate had against it."""
    against = _worst_first(check for check in verdict.checks if blocks(check))
    said = AlertLine(
        metric=None,
        group=None,
        outcome=Outcome.FAILED,
        reason="override",
        baseline=None,
        candidate=None,
        worsening=None,
        text=f"made champion with a {verdict.gate.value} gate: {reason.strip()}",
    )
    return AlertDraft(
        kind=AlertKind.OVERRIDE,
        level=Level.WARN,
        title=_title(candidate_run, "made champion by override", suite_key, stage),
        lines=(said, *map(_line, against)),
    )


def fold(
    current: AlertState | None,
    *,
    newest_position: Position,
    newest_draft: AlertDraft | None,
    failing_count: int,
    now: datetime,
) -> AlertState | None:
    """The alert after an evaluation arrived, was judged again, or was made invalid.

    Args:
        newest_position: Of the newest valid candidate evaluation of the subject, by Position, not by arrival.
        newest_draft: What that evaluation gives cause for in this kind; None when nothing.
        failing_count: How many valid candidate evaluations of the subject give cause.

    Returns:
        None where there never was an alert and nothing fails. An acknowledged alert stays so, a muted one
        until its time, while it still fails; a resolved one opens again.
    """
    if newest_draft is None:
        if current is None or current.state is State.RESOLVED:
            return current
        return replace(
            current,
            state=State.RESOLVED,
            as_of=newest_position,
            count=failing_count,
            updated_at=now,
            resolved_at=now,
            changed_by=None,
            reason=None,
            muted_until=None,
        )
    fresh = AlertState(
        state=State.OPEN,
        kind=newest_draft.kind,
        level=newest_draft.level,
        title=newest_draft.title,
        lines=newest_draft.lines,
        count=failing_count,
        as_of=newest_position,
        opened_at=now,
        updated_at=now,
    )
    if current is None:
        return fresh
    if current.state is State.RESOLVED:
        # What a person resolved stays so until something newer fails; what passed by itself opens again.
        settled = (
            current.changed_by is not None
            and current.as_of is not None
            and newest_position.key() <= current.as_of.key()
        )
        return current if settled else fresh
    if current.state is State.MUTED and is_mute_over(current, now):
        return replace(fresh, opened_at=current.opened_at)
    kept = replace(
        fresh,
        state=current.state,
        opened_at=current.opened_at,
        changed_by=current.changed_by,
        reason=current.reason,
        muted_until=current.muted_until,
    )
    return current if replace(kept, updated_at=current.updated_at) == current else kept


def is_mute_over(alert: AlertState, now: datetime) -> bool:
    return alert.muted_until is not None and now >= alert.muted_until


def changed_by_person(
    current: AlertState, *, state: State, until: datetime | None, reason: str | None, by: str, now: datetime
) -> AlertState:
    """The alert after a person acknowledged, muted, resolved or reopened it.

    Raises:
        InvalidInput: Muting lacks a reason or a time to come; or the alert is resolved, which only a later
            evaluation that fails again undoes.
    """
    if current.state is State.RESOLVED and state is not State.RESOLVED:
        raise InvalidInput(
            "the alert is resolved; it opens by itself when a later evaluation fails again", field="state"
        )
    if state is State.MUTED:
        if until is None or until <= now:
            raise InvalidInput("muting needs a time to come", field="until")
        if not (reason and reason.strip()):
            raise InvalidInput("muting needs a reason", field="reason")
    elif until is not None:
        raise InvalidInput("only muting has an end; leave until out", field="until")
    return replace(
        current,
        state=state,
        updated_at=now,
        resolved_at=now if state is State.RESOLVED else None,
        changed_by=None if state is State.OPEN else by,
        reason=None if state is State.OPEN else reason,
        muted_until=until if state is State.MUTED else None,
    )


def _is_warning(check: Check) -> bool:
    return check.rule is Rule.LIMIT and not check.required and check.outcome in CLOSING


def _worst_first(checks: Iterable[Check]) -> list[Check]:
    """What could not even be compared first, then the largest worsening; names settle ties."""
    return sorted(
        checks,
        key=lambda check: (
            check.worsening is not None,
            -(check.worsening or 0.0),
            is_reserved(check.group or OVERALL),
            check.metric or "",
            check.group or "",
            check.rule.value,
        ),
    )


def _what(kind: AlertKind, checks: Sequence[Check], every: Sequence[Check]) -> str:
    """`3 of 9 groups regressed`, `2 limits not met`, `count mismatch`."""
    if kind is AlertKind.LIMIT:
        return f"{len(checks)} limit{'s' if len(checks) > 1 else ''} not met"
    if kind is AlertKind.INTEGRITY:
        if len(checks) > 1:
            return f"{len(checks)} numbers do not add up"
        return (checks[0].reason or checks[0].rule.value).replace("_", " ")
    outcomes = {check.outcome for check in checks}
    verb = next(iter(outcomes)).value if len(outcomes) == 1 else "failed or regressed"
    groups = {check.group for check in checks if not is_reserved(check.group or OVERALL)}
    if not groups:
        return f"{checks[0].group or checks[0].metric} {verb}"
    of = {
        check.group
        for check in every
        if check.rule is Rule.REGRESSION and not is_reserved(check.group or OVERALL)
    }
    return f"{len(groups)} of {len(of)} group{'s' if len(of) > 1 else ''} {verb}"


def _title(run: str, what: str, suite: str, stage: str) -> str:
    """`run-6: 3 of 9 groups regressed (heights-val)`; names give way when it gets too long."""
    place = suite if stage == "final" else f"{suite}/{stage}"
    title = f"{run}: {what} ({place})"
    if len(title) <= TITLE_LENGTH:
        return title
    what = shortened(what, 35)
    room = TITLE_LENGTH - len(what) - len(": ") - len(" ()")
    for_run = max(room // 2, room - len(place))
    run = shortened(run, for_run)
    return f"{run}: {what} ({shortened(place, room - len(run))})"


def _line(check: Check) -> AlertLine:
    return AlertLine(
        metric=check.metric,
        group=check.group,
        outcome=check.outcome,
        reason=check.reason,
        baseline=check.baseline,
        candidate=check.candidate,
        worsening=check.worsening,
        text=explain(check),
    )
