"""The champion pointer of each suite and stage, and the events that moved it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, false, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db import locks
from app.db.fixed import Fixed
from app.db.tables import baseline, baseline_event, evaluation, run
from app.domain.evaluations import Validity
from app.domain.promotion import BaselineEvent, EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRow:
    """The pointer: evaluation_id is None before the first champion and when the seat is vacant."""

    project_id: UUID
    suite_id: UUID
    stage: str
    version: int
    evaluation_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One move of the pointer.

    Args:
        version: The pointer's version after it.
        run_key, previous_run_key: Of the evaluations.
        to_version: For rollback and invalidate, the event whose champion was taken back; None: vacant.
        detail: `sentence`, `unmet` (checks) and `reasons` as decided at that moment.
    """

    project_id: UUID
    suite_id: UUID
    stage: str
    version: int
    kind: str
    evaluation_id: UUID | None
    run_id: UUID | None
    run_key: str | None
    previous_evaluation_id: UUID | None
    previous_run_key: str | None
    to_version: int | None
    actor: str
    reason: str | None
    policy_version: int | None
    gate: str | None
    detail: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """What a move writes; the rest follows from the pointer."""

    kind: EventKind
    evaluation_id: UUID | None
    to_version: int | None
    actor: str
    reason: str | None
    policy_version: int | None
    gate: str | None
    detail: Mapping[str, Any]
    created_at: datetime


def current(session: Session, *, project_id: UUID, suite_id: UUID, stage: str) -> BaselineRow:
    """The pointer as it stands, not locked; version 0 where the suite and stage were never used."""
    found = _NOT_LOCKED.first(session, project_id=project_id, suite_id=suite_id, stage=stage)
    if found is not None:
        return BaselineRow(**found)
    return BaselineRow(project_id=project_id, suite_id=suite_id, stage=stage, version=0, evaluation_id=None)


def lock_to_judge(session: Session, *, project_id: UUID, suite_id: UUID, stage: str) -> BaselineRow:
    """The pointer, which will not move before the transaction ends; others may judge at the same time."""
    # Share locks on a row may overlap for ever and starve whoever wants to move it; this queue is fair.
    locks.share(session, _queue(project_id, suite_id, stage))
    return _locked(session, project_id, suite_id, stage, exclusive=False)


def lock_to_move(session: Session, *, project_id: UUID, suite_id: UUID, stage: str) -> BaselineRow:
    """The pointer, which nobody else reads to judge or moves before the transaction ends."""
    locks.own(session, _queue(project_id, suite_id, stage))
    return _locked(session, project_id, suite_id, stage, exclusive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Locked pointers: those an evaluation has ever been champion of, to be moved, and others, to be judged by."""

    worn: list[BaselineRow]
    others: list[BaselineRow]


def lock_seats_of(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    evaluation_id: UUID | None = None,
    boards: Iterable[tuple[UUID, str]] = (),
) -> Seats:
    """The pointers that an evaluation of the run (or this one) has ever been champion of, locked to move.

    Ever, not only now: whoever hands a crown back to an earlier champion must not overlook that it is made
    invalid at the same moment. The run is locked.

    Args:
        boards: (suite id, stage) of pointers that are locked to judge, where the run never was champion.
    """
    query = (
        select(baseline_event.c.suite_id, baseline_event.c.stage)
        .distinct()
        .join(evaluation, _is_of(baseline_event.c.evaluation_id))
        .where(baseline_event.c.project_id == project_id, evaluation.c.run_id == run_id)
        .order_by(baseline_event.c.suite_id, baseline_event.c.stage)
    )
    if evaluation_id is not None:
        query = query.where(evaluation.c.id == evaluation_id)
    worn = {(suite_id, stage) for suite_id, stage in session.execute(query)}
    seats = Seats(worn=[], others=[])
    # One order for both kinds, since two who lock each other's boards would wait for ever.
    for suite_id, stage in sorted(worn.union(boards)):
        if (suite_id, stage) in worn:
            seats.worn.append(lock_to_move(session, project_id=project_id, suite_id=suite_id, stage=stage))
        else:
            seats.others.append(lock_to_judge(session, project_id=project_id, suite_id=suite_id, stage=stage))
    return seats


def move(session: Session, pointer: BaselineRow, event: NewEvent) -> EventRow:
    """Append the event and point to its evaluation; the pointer is locked to move."""
    version = pointer.version + 1
    session.execute(
        update(baseline)
        .where(*_here(pointer.project_id, pointer.suite_id, pointer.stage))
        .values(version=version, evaluation_id=event.evaluation_id)
    )
    written = asdict(event) | {"kind": event.kind.value, "detail": dict(event.detail)}
    session.execute(
        insert(baseline_event).values(
            project_id=pointer.project_id,
            suite_id=pointer.suite_id,
            stage=pointer.stage,
            version=version,
            previous_evaluation_id=pointer.evaluation_id,
            **written,
        )
    )
    return event_at(
        session,
        project_id=pointer.project_id,
        suite_id=pointer.suite_id,
        stage=pointer.stage,
        version=version,
    )


def event_at(session: Session, *, project_id: UUID, suite_id: UUID, stage: str, version: int) -> EventRow:
    """The event that made that version.

    Raises:
        NoResultFound: There is none.
    """
    query = _select_events(project_id, suite_id, stage).where(baseline_event.c.version == version)
    return EventRow(**session.execute(query).mappings().one())


def page(
    session: Session, *, project_id: UUID, suite_id: UUID, stage: str, limit: int, before: int | None = None
) -> list[EventRow]:
    """The newest events first; `before` is the version of the last event of the page before."""
    query = _select_events(project_id, suite_id, stage)
    if before is not None:
        query = query.where(baseline_event.c.version < before)
    rows = session.execute(query.order_by(baseline_event.c.version.desc()).limit(limit)).mappings()
    return [EventRow(**row) for row in rows]


def history(session: Session, pointer: BaselineRow) -> list[BaselineEvent]:
    """Every event as the rules read it, oldest first."""
    columns = baseline_event.c
    query = (
        select(columns.version, columns.kind, columns.evaluation_id, columns.to_version)
        .where(
            columns.project_id == pointer.project_id,
            columns.suite_id == pointer.suite_id,
            columns.stage == pointer.stage,
        )
        .order_by(columns.version)
    )
    return [
        BaselineEvent(
            version=version,
            kind=EventKind(kind),
            evaluation=None if evaluation_id is None else str(evaluation_id),
            to_version=to_version,
        )
        for version, kind, evaluation_id, to_version in session.execute(query)
    ]


def unfit(
    session: Session, pointer: BaselineRow, events: Iterable[BaselineEvent], *, archived: bool = True
) -> set[str]:
    """Evaluations of these events that may not be champion now: invalid, their run is, or it is archived.

    Args:
        archived: False to leave the last ground out: what an archived run once reached has been reached.
    """
    ids = {UUID(event.evaluation) for event in events if event.evaluation is not None}
    query = (
        select(evaluation.c.id)
        .join(run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id))
        .where(
            evaluation.c.project_id == pointer.project_id,
            evaluation.c.id.in_(sorted(ids)),
            or_(
                evaluation.c.validity == Validity.INVALID.value,
                run.c.validity == Validity.INVALID.value,
                run.c.archived_at.is_not(None) if archived else false(),
            ),
        )
    )
    return {str(evaluation_id) for evaluation_id in session.execute(query).scalars()}


def _queue(project_id: UUID, suite_id: UUID, stage: str) -> int:
    return locks.key_of("baseline", project_id, suite_id, stage)


def _locked(
    session: Session, project_id: UUID, suite_id: UUID, stage: str, *, exclusive: bool
) -> BaselineRow:
    query = _TO_MOVE if exclusive else _TO_JUDGE
    here = {"project_id": project_id, "suite_id": suite_id, "stage": stage}
    found = query.first(session, **here)
    if found is None:
        # The first use of this suite and stage: a row to lock.
        session.execute(insert(baseline).values(**here, version=0).on_conflict_do_nothing())
        found = query.first(session, **here)
    if found is None:
        raise LookupError(f"suite {suite_id} has no pointer for stage {stage}, though one was just made")
    return BaselineRow(**found)


def _here(project_id: UUID, suite_id: UUID, stage: str) -> tuple[ColumnElement[bool], ...]:
    return (baseline.c.project_id == project_id, baseline.c.suite_id == suite_id, baseline.c.stage == stage)


_POINTER = select(baseline).where(
    baseline.c.project_id == bindparam("project_id"),
    baseline.c.suite_id == bindparam("suite_id"),
    baseline.c.stage == bindparam("stage"),
)
_NOT_LOCKED = Fixed(_POINTER)
_TO_JUDGE = Fixed(_POINTER.with_for_update(read=True))
_TO_MOVE = Fixed(_POINTER.with_for_update())


def _is_of(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return (evaluation.c.project_id == baseline_event.c.project_id) & (evaluation.c.id == column)


def _select_events(project_id: UUID, suite_id: UUID, stage: str) -> Select[Any]:
    now_e, then_e = evaluation.alias("now_e"), evaluation.alias("then_e")
    now_r, then_r = run.alias("now_r"), run.alias("then_r")
    events = baseline_event.c
    joined = (
        baseline_event.outerjoin(
            now_e, (now_e.c.project_id == events.project_id) & (now_e.c.id == events.evaluation_id)
        )
        .outerjoin(now_r, (now_r.c.project_id == now_e.c.project_id) & (now_r.c.id == now_e.c.run_id))
        .outerjoin(
            then_e,
            (then_e.c.project_id == events.project_id) & (then_e.c.id == events.previous_evaluation_id),
        )
        .outerjoin(then_r, (then_r.c.project_id == then_e.c.project_id) & (then_r.c.id == then_e.c.run_id))
    )
    return (
        select(
            baseline_event,
            now_r.c.id.label("run_id"),
            now_r.c.key.label("run_key"),
            then_r.c.key.label("previous_run_key"),
        )
        .select_from(joined)
        .where(events.project_id == project_id, events.suite_id == suite_id, events.stage == stage)
    )
