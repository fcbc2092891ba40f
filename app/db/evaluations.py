"""Evaluations as they were posted, and as the rules read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from app.db import bulk
from app.db.bulk import Rows
from app.db.fixed import Fixed
from app.db.remembered import Remembered
from app.db.statements import loss_from_document, stated_from_document
from app.db.tables import evaluation, evaluation_value, run
from app.domain.evaluations import (
    Bound,
    Evaluation,
    Position,
    Purpose,
    Validity,
    Value,
)

# In values; one takes about 150 bytes. Champions and their siblings are read with every post.
_values: Remembered[tuple[UUID, UUID, bytes], tuple[Value, ...]] = Remembered(
    most=100_000, size=lambda values: 1 + len(values)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """A posted evaluation.

    Args:
        digest: SHA-256 of the parsed content.
        stated, loss: Strict JSON of the domain's Stated and Loss.
        assessment, gate: The newest assessment's number and gate, validity aside.
        judged_version, weights_version: Of the pointer and of the suite's weights that it was made against.
        seeds_version, rivals_version: Of its own recipe's seed set and of the champions'.
        causes: Kinds of alert that it gives cause for.
        is_latest: Whether it is its run's latest valid candidate on this suite and stage.
    """

    project_id: UUID
    id: UUID
    run_id: UUID
    suite_id: UUID
    suite_version: int
    stage: str
    attempt: int
    step: int | None
    purpose: str
    digest: bytes
    stated: Mapping[str, Any]
    loss: Mapping[str, Any]
    info: Mapping[str, Any]
    validity: str
    validity_reason: str | None
    assessment: int
    gate: str
    judged_version: int
    weights_version: int
    seeds_version: int
    rivals_version: int
    causes: list[str]
    is_latest: bool
    created_at: datetime
    created_by: str

    @property
    def position(self) -> Position:
        return Position(attempt=self.attempt, step=self.step, evaluation=str(self.id))


def effective_validity(
    of_run: tuple[str, str | None], of_evaluation: tuple[str, str | None]
) -> tuple[str, str | None]:
    """The worse of a run's and an evaluation's (validity, reason); the run's when they are equal."""
    for validity in (Validity.INVALID, Validity.SUSPECT):
        for found, reason in (of_run, of_evaluation):
            if found == validity.value:
                return found, reason
    return Validity.VALID.value, None


def newest_first() -> list[Any]:
    """Position.key() as SQL, in descending order; a UUID sorts like its text."""
    columns = evaluation.c
    return [columns.attempt.desc(), func.coalesce(columns.step, -1).desc(), columns.id.desc()]


def insert_evaluation(session: Session, row: EvaluationRow) -> bool:
    """Whether it was stored; False when the project has one of that id, after waiting for whoever posts it."""
    return _INSERT.first(session, **{name: getattr(row, name) for name in _COLUMNS}) is not None


def note_verdict(session: Session, row: EvaluationRow) -> None:
    """Note the row's gate and causes, which are known only after it was inserted."""
    _NOTE_VERDICT.run(
        session, of_project=row.project_id, evaluation_id=row.id, given=row.gate, found=row.causes
    )


def value_rows(row: EvaluationRow, values: Sequence[Value]) -> Rows:
    """The values of an evaluation, to be inserted after it."""
    return bulk.rows_of(
        evaluation_value,
        same={"project_id": row.project_id, "evaluation_id": row.id},
        columns={
            "metric": [value.metric for value in values],
            "group_name": [value.group for value in values],
            "value": [value.value for value in values],
            "bound": [value.bound.value for value in values],
            "n": [value.n for value in values],
            "stderr": [value.stderr for value in values],
        },
    )


def by_id(session: Session, *, project_id: UUID, evaluation_id: UUID) -> EvaluationRow | None:
    return _one(_BY_ID.first(session, project_id=project_id, evaluation_id=evaluation_id))


def by_ids(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> list[EvaluationRow]:
    """Those of the project, by id."""
    rows = _BY_IDS.all(session, project_id=project_id, ids=sorted(ids))
    return [EvaluationRow(**row) for row in rows]


def everywhere(session: Session, evaluation_id: UUID) -> list[EvaluationRow]:
    """The evaluations of that id, of which each project may have one."""
    query = select(evaluation).where(evaluation.c.id == evaluation_id).order_by(evaluation.c.project_id)
    return [EvaluationRow(**row) for row in session.execute(query).mappings()]


def latest_of_run(
    session: Session, *, project_id: UUID, run_id: UUID, suite_id: UUID, stage: str
) -> EvaluationRow | None:
    """The run's latest valid candidate as it is marked."""
    return _one(
        _LATEST_OF_RUN.first(session, project_id=project_id, run_id=run_id, suite_id=suite_id, stage=stage)
    )


def newest_of_run(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    limit: int,
    purposes: Collection[Purpose] = (Purpose.CANDIDATE,),
) -> list[EvaluationRow]:
    """The run's newest candidates, or others, whatever they are worth."""
    query = (
        select(evaluation)
        .where(
            evaluation.c.project_id == project_id,
            evaluation.c.run_id == run_id,
            evaluation.c.purpose.in_([purpose.value for purpose in purposes]),
        )
        .order_by(evaluation.c.created_at.desc(), evaluation.c.id)
        .limit(limit)
    )
    return [EvaluationRow(**row) for row in session.execute(query).mappings()]


def unmark_latest(session: Session, row: EvaluationRow) -> None:
    """Take the mark from an evaluation that a later one has followed; the run is locked."""
    session.execute(
        update(evaluation)
        .where(evaluation.c.project_id == row.project_id, evaluation.c.id == row.id)
        .values(is_latest=False)
    )


def mark_latest(session: Session, *, project_id: UUID, run_id: UUID, suite_id: UUID, stage: str) -> None:
    """Mark the run's latest valid candidate and unmark what was marked; the run is locked.

    The run's own validity plays no part: what is latest of an invalid run is latest again once it is restored.
    """
    here = (
        evaluation.c.project_id == project_id,
        evaluation.c.run_id == run_id,
        evaluation.c.suite_id == suite_id,
        evaluation.c.stage == stage,
    )
    newest = session.execute(
        select(evaluation.c.id)
        .where(
            *here,
            evaluation.c.purpose == Purpose.CANDIDATE.value,
            evaluation.c.validity != Validity.INVALID.value,
        )
        .order_by(*newest_first())
        .limit(1)
    ).scalar_one_or_none()
    is_newest = evaluation.c.id == newest if newest is not None else evaluation.c.id.is_(None)
    session.execute(
        update(evaluation).where(*here, evaluation.c.is_latest != is_newest).values(is_latest=is_newest)
    )


def set_validity(
    session: Session, *, project_id: UUID, evaluation_id: UUID, validity: Validity, reason: str | None
) -> None:
    session.execute(
        update(evaluation)
        .where(evaluation.c.project_id == project_id, evaluation.c.id == evaluation_id)
        .values(validity=validity.value, validity_reason=reason)
    )


def set_judged(
    session: Session,
    row: EvaluationRow,
    *,
    assessment: int,
    gate: str,
    judged_version: int,
    weights_version: int,
    seeds_version: int,
    rivals_version: int,
    causes: list[str],
) -> None:
    """Note what the newest assessment says."""
    session.execute(
        update(evaluation)
        .where(evaluation.c.project_id == row.project_id, evaluation.c.id == row.id)
        .values(
            assessment=assessment,
            gate=gate,
            judged_version=judged_version,
            weights_version=weights_version,
            seeds_version=seeds_version,
            rivals_version=rivals_version,
            causes=causes,
        )
    )


def forget_seeds(session: Session, *, project_id: UUID, run_id: UUID) -> None:
    """Let the run's evaluations be judged by the seed set that it has joined, whose versions are not its former's."""
    session.execute(
        update(evaluation)
        .where(evaluation.c.project_id == project_id, evaluation.c.run_id == run_id)
        .values(seeds_version=0)
    )


def boards_of_run(session: Session, *, project_id: UUID, run_id: UUID) -> list[tuple[UUID, str]]:
    """(suite id, stage) wherever the run has a candidate."""
    query = (
        select(evaluation.c.suite_id, evaluation.c.stage)
        .where(
            evaluation.c.project_id == project_id,
            evaluation.c.run_id == run_id,
            evaluation.c.purpose == Purpose.CANDIDATE.value,
        )
        .distinct()
        .order_by(evaluation.c.suite_id, evaluation.c.stage)
    )
    return [(suite_id, stage) for suite_id, stage in session.execute(query)]


def load(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> dict[UUID, Evaluation]:
    """The evaluations as the rules read them, with the validity of this moment."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = _LOAD.all(session, project_id=project_id, ids=wanted)
    # By the digest of what was posted: the id of a post that was taken back may be posted with other values.
    values = {row["id"]: _values.get((project_id, row["id"], row["digest"])) for row in rows}
    unknown = [evaluation_id for evaluation_id, known in values.items() if known is None]
    if unknown:
        values |= values_of(session, project_id=project_id, ids=unknown)
    for row in rows:
        _values.put((project_id, row["id"], row["digest"]), values[row["id"]] or ())
    return {
        row["id"]: Evaluation(
            id=str(row["id"]),
            run=row["key"],
            position=Position(attempt=row["attempt"], step=row["step"], evaluation=str(row["id"])),
            purpose=Purpose(row["purpose"]),
            values=values[row["id"]] or (),
            stated=stated_from_document(row["stated"]),
            loss=loss_from_document(row["loss"]),
            seeded=row["seed"] is not None,
            split_seeded=row["split_seeded"],
            run_validity=Validity(row["run_validity"]),
            validity=Validity(row["validity"]),
        )
        for row in rows
    }


def values_of(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> dict[UUID, tuple[Value, ...]]:
    """Each evaluation's values by metric and group; an evaluation that has none is there too."""
    columns = evaluation_value.c
    wanted = sorted(set(ids))
    query = (
        select(
            columns.evaluation_id, columns.metric, columns.group_name, columns.value, columns.n,
            columns.stderr, columns.bound,
        )
        .where(columns.project_id == project_id, columns.evaluation_id.in_(wanted))
        .order_by(columns.evaluation_id, columns.metric.collate("C"), columns.group_name.collate("C"))
    )  # fmt: skip
    found: dict[UUID, list[Value]] = {wanted_id: [] for wanted_id in wanted}
    for evaluation_id, metric, group, value, n, stderr, bound in session.execute(query):
        found[evaluation_id].append(
            Value(metric=metric, group=group, value=value, n=n, stderr=stderr, bound=Bound(bound))
        )
    return {evaluation_id: tuple(values) for evaluation_id, values in found.items()}


_COLUMNS = tuple(column.name for column in evaluation.c)
_INSERT = Fixed(insert(evaluation).on_conflict_do_nothing().returning(evaluation.c.id), columns=_COLUMNS)
_PROJECT = evaluation.c.project_id == bindparam("project_id")
_AMONG = evaluation.c.id == any_(bindparam("ids", type_=ARRAY(evaluation.c.id.type)))
_BY_ID = Fixed(select(evaluation).where(_PROJECT, evaluation.c.id == bindparam("evaluation_id")))
_BY_IDS = Fixed(select(evaluation).where(_PROJECT, _AMONG).order_by(evaluation.c.id))
_NOTE_VERDICT = Fixed(
    update(evaluation)
    .where(evaluation.c.project_id == bindparam("of_project"), evaluation.c.id == bindparam("evaluation_id"))
    .values(gate=bindparam("given"), causes=bindparam("found"))
)
_LATEST_OF_RUN = Fixed(
    select(evaluation).where(
        _PROJECT,
        evaluation.c.run_id == bindparam("run_id"),
        evaluation.c.suite_id == bindparam("suite_id"),
        evaluation.c.stage == bindparam("stage"),
        evaluation.c.is_latest,
    )
)
_LOAD = Fixed(
    select(
        evaluation,
        run.c.key,
        run.c.seed,
        run.c.split_seeded,
        run.c.validity.label("run_validity"),
    )
    .join(run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id))
    .where(_PROJECT, _AMONG)
)


def _one(found: Mapping[str, Any] | None) -> EvaluationRow | None:
    return None if found is None else EvaluationRow(**found)
