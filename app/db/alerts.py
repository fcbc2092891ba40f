"""Alerts, each found by its subject and kind; their state follows from `domain.alerts`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, RowMapping, Select, bindparam, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db import locks
from app.db.evaluations import newest_first
from app.db.fixed import Fixed
from app.db.tables import alert, evaluation, run, suite
from app.domain.alerts import AlertKind, AlertState, Level, State
from app.domain.evaluations import Position, Purpose, Validity
from app.domain.record import line_from_document, line_to_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose alerts: a run group's, or a run's that belongs to none, on one suite and stage."""

    project_id: UUID
    suite_id: UUID
    stage: str
    run_id: UUID
    run_group: str | None

    @property
    def name(self) -> str:
        return f"run:{self.run_id}" if self.run_group is None else f"group:{self.run_group}"

    @property
    def lock_key(self) -> int:
        return lock_key(self.project_id, self.suite_id, self.stage, self.name)


def lock_key(project_id: UUID, suite_id: UUID, stage: str, subject: str) -> int:
    """The lock of a subject by its name, as alerts carry it."""
    return locks.key_of("alerts", project_id, suite_id, stage, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert as it is listed.

    Args:
        subject: `group:<run group>` or `run:<run id>`.
        run_id, run_key, evaluation_id: Of the newest evaluation, from which the state follows.
        suite_id, suite_key, stage, evaluation_id: None for an alert about a run's training.
    """

    project_id: UUID
    id: UUID
    suite_id: UUID | None
    suite_key: str | None
    stage: str | None
    subject: str
    run_id: UUID
    run_key: str
    evaluation_id: UUID | None
    alert: AlertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """A subject's newest valid candidate evaluation; causes: kinds of alert that it gives cause for."""

    evaluation_id: UUID
    run_id: UUID
    run_key: str
    assessment: int
    position: Position
    causes: list[str]


def newest_candidate(session: Session, subject: Subject) -> Newest | None:
    """None when the subject has no candidate evaluation that is valid, of a valid run."""
    newest = _NEWEST_OF_RUN if subject.run_group is None else _NEWEST_OF_GROUP
    row = newest.first(session, **_named(subject))
    if row is None:
        return None
    return Newest(
        evaluation_id=row["id"],
        run_id=row["run_id"],
        run_key=row["key"],
        assessment=row["assessment"],
        position=Position(attempt=row["attempt"], step=row["step"], evaluation=str(row["id"])),
        causes=row["causes"],
    )


def failing_counts(session: Session, subject: Subject) -> dict[str, int]:
    """How many of the subject's valid candidates give cause, by kind of alert."""
    causes = (
        select(func.unnest(evaluation.c.causes).label("kind"))
        .select_from(_RUNS_AND_EVALUATIONS)
        .where(*_candidates(in_group=subject.run_group is not None))
        .subquery()
    )
    counted = select(causes.c.kind, func.count().label("count")).group_by(causes.c.kind)
    rows = session.execute(counted, _named(subject))
    return {row[0]: row[1] for row in rows}


def of_subject(session: Session, subject: Subject) -> dict[AlertKind, AlertState]:
    """The subject's alerts by kind, locked; the subject itself is locked, so no other can come."""
    here = {
        "project_id": subject.project_id,
        "suite_id": subject.suite_id,
        "stage": subject.stage,
        "subject": subject.name,
    }
    # On its own, since the rows joined to a locked one are those of before the wait.
    if not _LOCK_SUBJECT.all(session, **here):
        return {}
    rows = [_row(row) for row in _OF_SUBJECT.all(session, **here)]
    return {row.alert.kind: row.alert for row in rows}


def lock_one(session: Session, *, project_id: UUID, alert_id: UUID) -> AlertRow | None:
    here = {"project_id": project_id, "alert_id": alert_id}
    _LOCK_ONE.all(session, **here)
    found = _ONE.first(session, **here)
    return None if found is None else _row(found)


def everywhere(session: Session, alert_id: UUID) -> AlertRow | None:
    """The alert of that id; ids of alerts are made of their project's."""
    found = session.execute(_select().where(alert.c.id == alert_id)).mappings().first()
    return None if found is None else _row(found)


def store(session: Session, subject: Subject, wanted: AlertState, *, run_id: UUID) -> UUID:
    """Insert or overwrite the subject's alert of that kind.

    Args:
        run_id: Of the evaluation that the alert is as of.

    Returns:
        The alert's id, which follows from what it is about.
    """
    name = f"{subject.suite_id}/{subject.stage}/{subject.name}/{wanted.kind.value}"
    alert_id = uuid5(subject.project_id, name)
    changing = _changing(wanted, run_id)
    session.execute(
        insert(alert)
        .values(
            project_id=subject.project_id,
            id=alert_id,
            suite_id=subject.suite_id,
            stage=subject.stage,
            subject=subject.name,
            kind=wanted.kind.value,
            **changing,
        )
        .on_conflict_do_update(index_elements=["project_id", "id"], set_=changing)
    )
    return alert_id


def of_run(session: Session, *, project_id: UUID, run_id: UUID, about: str) -> AlertState | None:
    """The run's alert about its training, locked; the run's alerts are locked as a whole, so no other can come."""
    row = lock_one(session, project_id=project_id, alert_id=_id_of_run(project_id, run_id, about))
    return None if row is None else row.alert


def store_of_run(session: Session, *, project_id: UUID, run_id: UUID, about: str, wanted: AlertState) -> UUID:
    """Insert or overwrite the run's alert of that name; returns its id, which follows from what it is about."""
    alert_id = _id_of_run(project_id, run_id, about)
    changing = _changing(wanted, run_id)
    session.execute(
        insert(alert)
        .values(
            project_id=project_id, id=alert_id, subject=f"run:{run_id}", kind=wanted.kind.value, **changing
        )
        .on_conflict_do_update(index_elements=["project_id", "id"], set_=changing)
    )
    return alert_id


def count_of_run(session: Session, *, project_id: UUID, run_id: UUID) -> int:
    """How many alerts there are about the run's training, resolved ones too."""
    here = (alert.c.project_id == project_id, alert.c.subject == f"run:{run_id}", alert.c.suite_id.is_(None))
    return session.execute(select(func.count()).select_from(alert).where(*here)).scalar_one()


def lock_key_of_run(project_id: UUID, run_id: UUID) -> int:
    """The lock of all alerts about a run's training."""
    return locks.key_of("run alerts", project_id, run_id)


def _id_of_run(project_id: UUID, run_id: UUID, about: str) -> UUID:
    return uuid5(project_id, f"run/{run_id}/{about}")


def store_row(session: Session, row: AlertRow) -> None:
    """Overwrite a locked alert."""
    session.execute(
        alert.update()
        .where(alert.c.project_id == row.project_id, alert.c.id == row.id)
        .values(**_changing(row.alert, row.run_id))
    )


def page(
    session: Session,
    *,
    project_id: UUID,
    states: Collection[State],
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> list[AlertRow]:
    """The alerts in these states that changed last first; `after`: (updated_at, id) of the last one before."""
    query = _select().where(
        alert.c.project_id == project_id, alert.c.state.in_(sorted(state.value for state in states))
    )
    if after is not None:
        query = query.where(tuple_(alert.c.updated_at, alert.c.id) < after)
    rows = session.execute(query.order_by(alert.c.updated_at.desc(), alert.c.id.desc()).limit(limit))
    return [_row(row) for row in rows.mappings()]


_RUNS_AND_EVALUATIONS = evaluation.join(
    run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id)
)


def _candidates(*, in_group: bool) -> tuple[ColumnElement[bool], ...]:
    """A subject's valid candidates. A run that has joined a group since counts with its group."""
    whose = (
        run.c.run_group == bindparam("run_group") if in_group else evaluation.c.run_id == bindparam("run_id")
    )
    return (
        evaluation.c.project_id == bindparam("project_id"),
        evaluation.c.suite_id == bindparam("suite_id"),
        evaluation.c.stage == bindparam("stage"),
        evaluation.c.purpose == Purpose.CANDIDATE.value,
        evaluation.c.validity != Validity.INVALID.value,
        run.c.validity != Validity.INVALID.value,
        whose,
    )


def _named(subject: Subject) -> dict[str, Any]:
    whose = {"run_id": subject.run_id} if subject.run_group is None else {"run_group": subject.run_group}
    return {
        "project_id": subject.project_id,
        "suite_id": subject.suite_id,
        "stage": subject.stage,
        **whose,
    }


def _newest(*, in_group: bool) -> Fixed:
    return Fixed(
        select(
            evaluation.c.id,
            evaluation.c.run_id,
            run.c.key,
            evaluation.c.assessment,
            evaluation.c.attempt,
            evaluation.c.step,
            evaluation.c.causes,
        )
        .select_from(_RUNS_AND_EVALUATIONS)
        .where(*_candidates(in_group=in_group))
        .order_by(*newest_first())
        .limit(1)
    )


_NEWEST_OF_RUN = _newest(in_group=False)
_NEWEST_OF_GROUP = _newest(in_group=True)


def _changing(wanted: AlertState, run_id: UUID) -> dict[str, Any]:
    return {
        "state": wanted.state.value,
        "level": wanted.level.value,
        "title": wanted.title,
        "lines": [line_to_document(line) for line in wanted.lines],
        "count": wanted.count,
        "evaluation_id": None if wanted.as_of is None else UUID(wanted.as_of.evaluation),
        "run_id": run_id,
        "opened_at": wanted.opened_at,
        "updated_at": wanted.updated_at,
        "resolved_at": wanted.resolved_at,
        "changed_by": wanted.changed_by,
        "reason": wanted.reason,
        "muted_until": wanted.muted_until,
    }


def _select() -> Select[Any]:
    return (
        select(
            alert, run.c.key.label("run_key"), suite.c.key.label("suite_key"), evaluation.c.attempt,
            evaluation.c.step,
        )
        .join(run, (run.c.project_id == alert.c.project_id) & (run.c.id == alert.c.run_id))
        .outerjoin(suite, (suite.c.project_id == alert.c.project_id) & (suite.c.id == alert.c.suite_id))
        .outerjoin(
            evaluation,
            (evaluation.c.project_id == alert.c.project_id) & (evaluation.c.id == alert.c.evaluation_id),
        )
    )  # fmt: skip


_HERE = (
    alert.c.project_id == bindparam("project_id"),
    alert.c.suite_id == bindparam("suite_id"),
    alert.c.stage == bindparam("stage"),
    alert.c.subject == bindparam("subject"),
)
_THIS = (alert.c.project_id == bindparam("project_id"), alert.c.id == bindparam("alert_id"))
_LOCKED = select(alert.c.id).order_by(alert.c.kind).with_for_update()
_LOCK_SUBJECT, _OF_SUBJECT = Fixed(_LOCKED.where(*_HERE)), Fixed(_select().where(*_HERE))
_LOCK_ONE, _ONE = Fixed(_LOCKED.where(*_THIS)), Fixed(_select().where(*_THIS))


def _row(row: Mapping[str, Any] | RowMapping) -> AlertRow:
    as_of = None
    if row["evaluation_id"] is not None:
        as_of = Position(attempt=row["attempt"], step=row["step"], evaluation=str(row["evaluation_id"]))
    return AlertRow(
        project_id=row["project_id"],
        id=row["id"],
        suite_id=row["suite_id"],
        suite_key=row["suite_key"],
        stage=row["stage"],
        subject=row["subject"],
        run_id=row["run_id"],
        run_key=row["run_key"],
        evaluation_id=row["evaluation_id"],
        alert=AlertState(
            state=State(row["state"]),
            kind=AlertKind(row["kind"]),
            level=Level(row["level"]),
            title=row["title"],
            lines=tuple(map(line_from_document, row["lines"])),
            count=row["count"],
            as_of=as_of,
            opened_at=row["opened_at"],
            updated_at=row["updated_at"],
            resolved_at=row["resolved_at"],
            changed_by=row["changed_by"],
            reason=row["reason"],
            muted_until=row["muted_until"],
        ),
    )
