"""Who may be champion, and who is after a step back (RULES.md, *Promotion*)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.aggregates import MACRO
from app.domain.assess import Champion
from app.domain.evaluations import OVERALL, Evaluation, Purpose
from app.domain.gate import blocks, leaves_open_question
from app.domain.metrics import Metric, Pooling, Role, gap
from app.domain.outcomes import Aggregate, Check, Gate, Outcome, Rule, Verdict
from app.domain.policy import Policy
from app.domain.readings import readings_of
from app.domain.scaling import beyond, exponent_for, scaled
from app.domain.sentences import explain, numbers_apart
from app.domain.suites import Comparability, Suite, lead_metric
from app.errors import Conflict, InvalidInput


class EventKind(StrEnum):
    PROMOTE = "promote"
    BOOTSTRAP = "bootstrap"
    OVERRIDE = "override"
    ROLLBACK = "rollback"
    INVALIDATE = "invalidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineEvent:
    """One move of the pointer.

    Args:
        version: The pointer's version after the event; grows by one with every event.
        evaluation: The champion after the event; None when the seat fell vacant.
        to_version: For rollback and invalidate, the event whose champion was taken back.
    """

    version: int
    kind: EventKind
    evaluation: str | None
    to_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an evaluation may be made champion.

    Args:
        reasons: Each ground for a refusal, `code: sentence` with the way out; empty when allowed.
        unmet: Required limits that are not met or could not be judged; a bootstrap or override lists them.
    """

    allowed: bool
    reasons: tuple[str, ...]
    unmet: tuple[Check, ...]


def decide(
    kind: EventKind,
    *,
    verdict: Verdict,
    candidate: Evaluation,
    champion: Champion | None,
    suite: Suite,
    policy: Policy,
    reason: str | None,
) -> Decision:
    """Whether `kind` (promote, bootstrap or override) may make the candidate champion.

    Args:
        verdict: Of the candidate against the champion of this moment.
        suite: The candidate's suite version.
        reason: What the person says; blank counts as none.
    """
    unmet = tuple(
        check
        for check in verdict.checks
        if check.rule is Rule.LIMIT and check.required and check.outcome is not Outcome.PASS
    )
    refusals = [*_never(candidate, champion, suite)]
    given = bool(reason and reason.strip())
    if kind is EventKind.PROMOTE:
        refusals += _against_promotion(verdict, champion, suite, policy.zero_tol)
    elif kind is EventKind.BOOTSTRAP:
        refusals += _against_bootstrap(verdict, champion, suite, candidate)
        if unmet and not given:
            refusals.append(
                f"limits_not_met: {len(unmet)} required limits are not met; give a reason to bootstrap anyway"
            )
    elif kind is EventKind.OVERRIDE:
        if not given:
            refusals.append("no_reason: an override needs a reason; it is shown for ever")
    else:
        refusals.append(f"not_a_promotion: {kind} makes no new champion; use promote, bootstrap or override")
    return Decision(allowed=not refusals, reasons=tuple(refusals), unmet=unmet)


def needs_bootstrap(champion: Champion | None, suite: Suite) -> bool:
    """Whether nothing compares: no champion, or it had another dataset, split or protocol."""
    return champion is None or bool(Comparability(champion.suite, suite).whole)


def _never(candidate: Evaluation, champion: Champion | None, suite: Suite) -> list[str]:
    """What no kind of event may do, an override included."""
    refusals = []
    if candidate.purpose is not Purpose.CANDIDATE:
        refusals.append("progress: a measurement during training is no claim; post it with purpose candidate")
    if not candidate.is_valid:
        refusals.append("invalid: the run or the evaluation is invalid; restore it first")
    if champion is not None and champion.evaluation.id == candidate.id:
        refusals.append("already_champion: this evaluation is the champion")
    if names := _non_finite(candidate, suite):
        refusals.append(
            f"non_finite: {names[0]} is not a finite number; such an evaluation is never a baseline"
        )
    return refusals


def _non_finite(candidate: Evaluation, suite: Suite) -> list[str]:
    """Cells of primary metrics that hold NaN or ±∞."""
    readings = readings_of(suite, candidate)
    cells = []
    for metric in suite.metrics:
        if metric.role is Role.PRIMARY:
            values = [*readings.of(metric).values(), *filter(None, [readings.whole.get(metric.name)])]
            cells += [f"{metric.name} {value.group}" for value in values if not math.isfinite(value.value)]
    return sorted(cells)


def _against_promotion(
    verdict: Verdict, champion: Champion | None, suite: Suite, zero_tol: float
) -> list[str]:
    if needs_bootstrap(champion, suite):
        what = (
            "there is no champion yet"
            if champion is None
            else "the champion's dataset, split or protocol is another"
        )
        return [f"no_champion: {what}; use bootstrap"]
    refusals = []
    if verdict.gate is not Gate.OPEN:
        grounds = [check for check in verdict.checks if blocks(check)]
        grounds = grounds or [check for check in verdict.checks if leaves_open_question(check)]
        refusals += [f"{check.reason or check.outcome.value}: {explain(check)}" for check in grounds]
        refusals = refusals or [f"gate_{verdict.gate.value}: {verdict.sentence}"]
    return refusals + _not_better(verdict, suite, zero_tol)


def _not_better(verdict: Verdict, suite: Suite, zero_tol: float) -> list[str]:
    """The lead metric's overall (macro where it does not pool) must not be worse at all.

    By the verdict's own numbers: where the champion's seeds are known, mean against mean, so that neither a
    lucky seed of the champion's nor an unlucky one of the candidate's decides.
    """
    lead = lead_metric(suite)
    if lead is None:
        return ["not_better: the suite has no primary metric to be better in"]
    pair = _lead_aggregate(verdict, lead)
    if pair is None or pair.value is None or pair.baseline is None:
        return [f"not_better: {lead.name} has no overall on both sides to be better in"]
    if not is_worse(lead, pair.baseline, pair.value, zero_tol):
        return []
    value, baseline = numbers_apart(pair.value, pair.baseline)
    return [f"not_better: {pair.name} {lead.name} {value} is worse than the champion's {baseline}"]


def _lead_aggregate(verdict: Verdict, lead: Metric) -> Aggregate | None:
    names = (OVERALL, MACRO) if lead.pooling is not Pooling.NONE else (MACRO, OVERALL)
    found = {
        column.name: column
        for column in verdict.aggregates
        if column.metric == lead.name and column.value is not None and column.baseline is not None
    }
    return next((found[name] for name in names if name in found), None)


def is_worse(metric: Metric, baseline: float, candidate: float, zero_tol: float) -> bool:
    """Whether the candidate is worse at all, float noise and differences up to zero_tol aside; NaN is."""
    if not (math.isfinite(baseline) and math.isfinite(candidate)):
        return True
    exponent = exponent_for(baseline, candidate, metric.target or metric.ideal or 0.0)
    worse = scaled(gap(metric, candidate), exponent) - scaled(gap(metric, baseline), exponent)
    size = max(scaled(abs(baseline), exponent), scaled(abs(candidate), exponent))
    return beyond(worse, scaled(zero_tol, exponent), size)


def _against_bootstrap(
    verdict: Verdict, champion: Champion | None, suite: Suite, candidate: Evaluation
) -> list[str]:
    refusals = []
    if not needs_bootstrap(champion, suite):
        refusals.append("has_champion: this suite and stage have a champion; use promote or override")
    lead = lead_metric(suite)
    if lead is not None and not readings_of(suite, candidate).has(lead):
        refusals.append(f"no_lead_value: no value of {lead.name}, so nothing could ever be judged against it")
    for check in verdict.checks:
        if check.outcome is not Outcome.FAILED:
            continue
        integrity = check.rule.alert_kind == "integrity" and check.required
        # Non-finite values of primary metrics are refused for every kind of event already.
        non_finite = check.reason == "non_finite" and check.required and check.rule is not Rule.REGRESSION
        if integrity or non_finite or check.reason == "impossible_value":
            refusals.append(f"{check.reason}: {explain(check)}")
    return refusals


def champion_from(events: Sequence[BaselineEvent], invalid: Collection[str]) -> tuple[str | None, int | None]:
    """Who is champion after these events when the evaluations in `invalid` may not be.

    The last event whose champion is valid and that was not rolled back. A champion that lost its seat to an
    invalidation does not get it back by being restored: it has to be promoted again.

    Returns:
        The evaluation and the version of the event that made it champion; (None, None) when the seat is
        vacant.
    """
    for event in reversed(_standing(events)):
        if event.evaluation is not None and event.evaluation not in invalid:
            return event.evaluation, event.version
    return None, None


def former_champions(
    events: Sequence[BaselineEvent], invalid: Collection[str], *, current: str | None
) -> tuple[str, ...]:
    """The champions that a candidate must not creep away from, oldest first, each once, without the current one.

    Those of events that were not taken back, since the last override, which is the new start of this history.
    """
    standing = _standing(events)
    overrides = [event.version for event in standing if event.kind is EventKind.OVERRIDE]
    since = max(overrides, default=0)
    crowned = (event.evaluation for event in standing if event.version >= since)
    return tuple(dict.fromkeys(e for e in crowned if e is not None and e != current and e not in invalid))


def _standing(events: Sequence[BaselineEvent]) -> list[BaselineEvent]:
    """The events that were not taken back, oldest first; a step back takes all after its target."""
    standing: list[BaselineEvent] = []
    for event in sorted(events, key=lambda event: event.version):
        if event.kind in (EventKind.ROLLBACK, EventKind.INVALIDATE):
            kept = -1 if event.to_version is None else event.to_version
            standing = [earlier for earlier in standing if earlier.version <= kept]
        standing.append(event)
    return standing


def rollback_event(
    events: Sequence[BaselineEvent], to_version: int | None, invalid: Collection[str]
) -> BaselineEvent:
    """The event to roll back to: the one asked for, or the last standing one with another, valid champion.

    Raises:
        InvalidInput: There is no such event.
        Conflict: Its champion is invalid, is the champion already, or there is nothing to go back to.
    """
    current, _ = champion_from(events, ())
    if to_version is None:
        earlier = [
            e
            for e in _standing(events)
            if e.evaluation not in (None, current) and e.evaluation not in invalid
        ]
        if not earlier:
            raise Conflict(
                "there is no earlier valid champion to go back to; promote or bootstrap another evaluation"
            )
        return earlier[-1]
    found = next((event for event in events if event.version == to_version), None)
    if found is None or found.evaluation is None:
        crowned = ", ".join(str(event.version) for event in events if event.evaluation is not None) or "none"
        raise InvalidInput(
            f"event {to_version} made no champion; events that did: {crowned}", field="to_event"
        )
    if found.evaluation in invalid:
        raise Conflict(
            f"the champion of event {to_version} is invalid; restore it first or choose another event"
        )
    if found.evaluation == current:
        raise Conflict(f"the champion of event {to_version} is the champion already")
    return found


def rollback_target(events: Sequence[BaselineEvent], to_version: int | None, invalid: Collection[str]) -> str:
    """The evaluation that a rollback makes champion; raises as `rollback_event`."""
    evaluation = rollback_event(events, to_version, invalid).evaluation
    if evaluation is None:
        raise InvalidInput(f"event {to_version} made no champion", field="to_event")
    return evaluation
