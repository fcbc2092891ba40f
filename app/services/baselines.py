"""Champions: promotion by compare-and-swap, with the gate recomputed against the champion of that moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.db import Session, evaluations, runs, suites, weights
from app.db import baselines as db
from app.db.alerts import Subject
from app.db.baselines import BaselineRow, EventRow, NewEvent
from app.db.evaluations import EvaluationRow
from app.db.runs import RunRow
from app.db.suites import SuiteRow
from app.domain.access import Actor
from app.domain.assess import assess
from app.domain.evaluations import Evaluation
from app.domain.outcomes import Verdict
from app.domain.promotion import Decision, EventKind, decide, rollback_event
from app.domain.record import check_to_document
from app.domain.suites import Suite, has_explicit_weights, shares_of
from app.domain.summary import sentence_for_invalid
from app.errors import Conflict, InvalidInput, NotFound
from app.services.alerts import Watched, alert_override, lock_subjects
from app.services.documents import checked_key, checked_text
from app.services.judging import convene
from app.services.projects import project_for
from app.services.seats import ACTIONS, step_back, tell


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of record_event, authorised."""

    session: Session
    actor: Actor
    suite_row: SuiteRow
    stage: str
    kind: EventKind
    expected_version: int
    reason: str | None
    now: datetime

    @property
    def project_id(self) -> UUID:
        return self.suite_row.project_id


def record_event(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    suite_key: str,
    stage: str,
    kind: EventKind,
    evaluation_id: UUID | None = None,
    to_version: int | None = None,
    expected_version: int,
    reason: str | None = None,
    now: datetime,
) -> EventRow:
    """Make an evaluation champion (promote, bootstrap, override) or go back to an earlier champion (rollback).

    Locks: the candidate's run, the pointer, the suite where its weights are frozen for good, the alerts' subject.

    Args:
        evaluation_id: Of the new champion; not for a rollback.
        to_version: Of the event to roll back to; None for the last one with another, valid champion.
        expected_version: The pointer's version that the caller has seen.

    Raises:
        Conflict: The pointer has moved (the message says who moved it, and when), or the rules refuse; `reasons`
            has every ground.
        InvalidInput: The evaluation is not of this suite and stage, or arguments do not fit the kind.
    """
    if kind not in ACTIONS:
        raise InvalidInput(
            f"kind is one of {', '.join(ACTIONS)}; the server itself writes {kind}", field="kind"
        )
    project = project_for(session, actor, key=project_key, action=ACTIONS[kind])
    is_key = suite_key.isascii() and suite_key.isprintable()
    suite_row = suites.newest(session, project_id=project.id, key=suite_key) if is_key else None
    if suite_row is None:
        raise NotFound(
            f"no suite {suite_key[:128]!r} in project {project.key}; its first evaluation creates it"
        )
    said = checked_text(reason, field="reason") if reason else None
    call = _Call(
        session, actor, suite_row, checked_key(stage, field="stage"), kind, expected_version, said, now
    )
    if kind is EventKind.ROLLBACK:
        if evaluation_id is not None:
            raise InvalidInput("a rollback names an event: to_event, or nothing", field="evaluation")
        return _roll_back(call, to_version)
    if to_version is not None:
        raise InvalidInput("only a rollback goes back to an event", field="to_event")
    if evaluation_id is None:
        raise InvalidInput(f"which evaluation is to be champion? {kind} needs one", field="evaluation")
    return _crown(call, evaluation_id)


def _crown(call: _Call, evaluation_id: UUID) -> EventRow:
    row = _candidate(call, evaluation_id)
    run = runs.lock(call.session, project_id=call.project_id, run_id=row.run_id)
    if run is None:
        raise LookupError(f"run {row.run_id} is not there")
    pointer = _locked(call)
    if run.archived_at is not None:
        raise Conflict(
            f"run {run.key} is archived and cannot be champion; post the evaluation under another run"
        )
    session = call.session
    candidate = evaluations.load(session, project_id=call.project_id, ids=[row.id])[row.id]
    suite = suites.load_suite(session, call.project_id, row.suite_id, row.suite_version)
    frozen = _final_weights(call, suite, candidate)
    court = convene(session, pointer, runs=[run], frozen=frozen)
    inputs = court.input_for(candidate, suite, run)
    verdict = assess(inputs)
    decision = decide(
        call.kind,
        verdict=verdict,
        candidate=candidate,
        champion=inputs.champion,
        suite=inputs.suite,
        policy=court.policy,
        reason=call.reason,
    )
    if not decision.allowed:
        raise _refused(call, candidate, run, decision)
    event = db.move(
        session,
        pointer,
        NewEvent(
            kind=call.kind,
            evaluation_id=row.id,
            to_version=None,
            actor=call.actor.name,
            reason=call.reason,
            policy_version=court.policy.version,
            gate=verdict.gate.value,
            detail=_detail(verdict, decision),
            created_at=call.now,
        ),
    )
    tell(session, call.actor, event, call.suite_row.key, call.now)
    if call.kind is EventKind.OVERRIDE:
        _alert(call, row, run, verdict)
    return event


def _roll_back(call: _Call, to_version: int | None) -> EventRow:
    pointer = _locked(call)
    events = db.history(call.session, pointer)
    target = rollback_event(events, to_version, db.unfit(call.session, pointer, events))
    if target.evaluation is None:
        raise LookupError(f"event {target.version} made no champion")
    event = db.move(
        call.session,
        pointer,
        NewEvent(
            kind=EventKind.ROLLBACK,
            evaluation_id=UUID(target.evaluation),
            to_version=target.version,
            actor=call.actor.name,
            reason=call.reason,
            policy_version=None,
            gate=None,
            detail={"sentence": step_back(target.evaluation, target.version), "unmet": [], "reasons": []},
            created_at=call.now,
        ),
    )
    tell(call.session, call.actor, event, call.suite_row.key, call.now)
    return event


def _candidate(call: _Call, evaluation_id: UUID) -> EvaluationRow:
    row = evaluations.by_id(call.session, project_id=call.project_id, evaluation_id=evaluation_id)
    if row is None:
        raise NotFound(f"no evaluation {evaluation_id} in this project", field="evaluation")
    if (row.suite_id, row.stage) != (call.suite_row.id, call.stage):
        raise InvalidInput(
            f"evaluation {evaluation_id} is not of suite {call.suite_row.key}, stage {call.stage}",
            field="evaluation",
        )
    return row


def _locked(call: _Call) -> BaselineRow:
    """The pointer, locked to move.

    Raises:
        Conflict: It is not where the caller has seen it.
    """
    pointer = db.lock_to_move(
        call.session, project_id=call.project_id, suite_id=call.suite_row.id, stage=call.stage
    )
    if pointer.version == call.expected_version:
        return pointer
    if pointer.version == 0:
        raise Conflict(
            f"suite {call.suite_row.key}, stage {call.stage} has had no champion yet: its version is 0, "
            f"not {call.expected_version}",
            field="expected_version",
        )
    last = db.event_at(
        call.session,
        project_id=pointer.project_id,
        suite_id=pointer.suite_id,
        stage=pointer.stage,
        version=pointer.version,
    )
    raise Conflict(
        f"the champion's version is {pointer.version}, not {call.expected_version}: {last.actor} moved it "
        f"({last.kind}) at {last.created_at.isoformat(timespec='seconds')}; look again and send version "
        f"{pointer.version} if you still want to",
        field="expected_version",
    )


def _final_weights(call: _Call, suite: Suite, candidate: Evaluation) -> weights.FrozenWeights:
    """The suite's weights, which its first champion brings; a refusal takes them back with everything else."""
    here = {"project_id": call.project_id, "suite_id": call.suite_row.id}
    frozen = weights.current(call.session, **here)
    if frozen.are_final or has_explicit_weights(suite):
        return frozen
    return weights.freeze_for_good(
        call.session, **here, shares=shares_of(candidate, suite), evaluation_id=UUID(candidate.id)
    )


def _refused(call: _Call, candidate: Evaluation, run: RunRow, decision: Decision) -> Conflict:
    if not candidate.is_valid:
        _, reason = evaluations.effective_validity(
            (run.validity, run.validity_reason), (candidate.validity.value, None)
        )
        message = sentence_for_invalid(candidate, reason)
    else:
        message = decision.reasons[0].partition(": ")[2] or decision.reasons[0]
    return Conflict(f"{call.kind} of {run.key} refused: {message}", reasons=decision.reasons)


def _detail(verdict: Verdict, decision: Decision) -> dict[str, Any]:
    return {
        "sentence": verdict.sentence,
        "unmet": [check_to_document(check) for check in decision.unmet],
        "reasons": list(decision.reasons),
    }


def _alert(call: _Call, row: EvaluationRow, run: RunRow, verdict: Verdict) -> None:
    watched = Watched(
        subject=Subject(
            project_id=row.project_id,
            suite_id=row.suite_id,
            stage=row.stage,
            run_id=row.run_id,
            run_group=run.run_group,
        ),
        suite_key=call.suite_row.key,
    )
    lock_subjects(call.session, [watched])
    alert_override(
        call.session,
        watched,
        verdict=verdict,
        run_key=run.key,
        position=row.position,
        reason=call.reason or "",
        now=call.now,
    )
