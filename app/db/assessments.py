"""Assessments: every verdict that was ever given, with what it was computed from; only appended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db import bulk
from app.db.fixed import Fixed
from app.db.tables import assessment, check_result
from app.domain.outcomes import Check, Gate, Outcome, Rule, Verdict
from app.domain.record import aggregate_from_document, aggregate_to_document, check_to_document


class Cause(StrEnum):
    """Why an assessment was made."""

    POSTED = "posted"
    CHAMPION_CHANGED = "champion_changed"
    CHAMPION_INVALID = "champion_invalid"
    WEIGHTS_CHANGED = "weights_changed"
    SEEDS_CHANGED = "seeds_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An evaluation that a verdict was computed from, and the suite version it is on."""

    evaluation_id: UUID
    suite_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reigned:
    """A former champion that a verdict was computed from, and its siblings."""

    champion: Posted
    siblings: tuple[Posted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a verdict was computed from beside rows that never change; with these it can be computed again.

    Args:
        weights: The suite's frozen weights of that moment.
        seeded, split_seeded: What was known of the run, which may correct itself later.
        siblings, baseline_siblings: Of the candidate and of the champion.
        history: Former champions, oldest first.
    """

    suite_version: int
    weights: Mapping[str, float]
    seeded: bool | None
    split_seeded: bool | None
    policy_version: int
    baseline_version: int
    baseline_evaluation_id: UUID | None
    baseline_suite_version: int | None
    siblings: tuple[Posted, ...] = ()
    baseline_siblings: tuple[Posted, ...] = ()
    history: tuple[Reigned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentRow:
    """One assessment; gate and sentence as the numbers gave them, validity aside."""

    project_id: UUID
    evaluation_id: UUID
    number: int
    cause: str
    gate: str
    sentence: str
    judged_cells: int
    total_cells: int
    policy_version: int
    baseline_version: int
    baseline_evaluation_id: UUID | None
    input: Mapping[str, Any]
    created_at: datetime

    @property
    def inputs(self) -> Inputs:
        return Inputs(
            suite_version=self.input["suite_version"],
            weights=self.input["weights"],
            seeded=self.input["seeded"],
            split_seeded=self.input["split_seeded"],
            policy_version=self.policy_version,
            baseline_version=self.baseline_version,
            baseline_evaluation_id=self.baseline_evaluation_id,
            baseline_suite_version=self.input["baseline_suite_version"],
            # What was judged before seeds were known has none of these.
            siblings=_read_several(self.input.get("siblings", ())),
            baseline_siblings=_read_several(self.input.get("baseline_siblings", ())),
            history=tuple(
                Reigned(champion=_read(each["champion"]), siblings=_read_several(each["siblings"]))
                for each in self.input.get("history", ())
            ),
        )


_COLUMNS = tuple(column for column in assessment.c if column.name != "aggregates")
_INSERT = Fixed(insert(assessment).inline(), columns=[column.name for column in assessment.c])


def insert_assessment(
    session: Session,
    *,
    project_id: UUID,
    evaluation_id: UUID,
    number: int,
    cause: Cause,
    verdict: Verdict,
    inputs: Inputs,
    now: datetime,
) -> None:
    """Append the verdict without its checks; the run is locked, so the number is the last one plus one."""
    _INSERT.run(
        session,
        project_id=project_id,
        evaluation_id=evaluation_id,
        number=number,
        cause=cause.value,
        gate=verdict.gate.value,
        sentence=verdict.sentence,
        aggregates=[aggregate_to_document(column) for column in verdict.aggregates],
        judged_cells=verdict.judged_cells,
        total_cells=verdict.total_cells,
        policy_version=inputs.policy_version,
        baseline_version=inputs.baseline_version,
        baseline_evaluation_id=inputs.baseline_evaluation_id,
        input=_written(inputs),
        created_at=now,
    )


def check_rows(*, project_id: UUID, evaluation_id: UUID, number: int, checks: Sequence[Check]) -> bulk.Rows:
    """The checks of an assessment, to be inserted after it."""
    return bulk.rows_of(
        check_result,
        same={"project_id": project_id, "evaluation_id": evaluation_id, "assessment": number},
        columns={
            "ordinal": range(len(checks)),
            "rule": [check.rule.value for check in checks],
            "metric": [check.metric for check in checks],
            "group_name": [check.group for check in checks],
            "outcome": [check.outcome.value for check in checks],
            "required": [check.required for check in checks],
            "reason": [check.reason for check in checks],
            "notes": [check.notes for check in checks],
            "baseline": [check.baseline for check in checks],
            "candidate": [check.candidate for check in checks],
            "worsening": [check.worsening for check in checks],
            "limit": [check.limit for check in checks],
            "detail": [check_to_document(check)["detail"] if check.detail else {} for check in checks],
        },
    )


def _written(inputs: Inputs) -> dict[str, Any]:
    document: dict[str, Any] = {
        "suite_version": inputs.suite_version,
        "weights": dict(inputs.weights),
        "seeded": inputs.seeded,
        "split_seeded": inputs.split_seeded,
        "baseline_suite_version": inputs.baseline_suite_version,
    }
    if inputs.siblings:
        document["siblings"] = _write_several(inputs.siblings)
    if inputs.baseline_siblings:
        document["baseline_siblings"] = _write_several(inputs.baseline_siblings)
    if inputs.history:
        document["history"] = [
            {"champion": _write(each.champion), "siblings": _write_several(each.siblings)}
            for each in inputs.history
        ]
    return document


def _write(posted: Posted) -> list[Any]:
    return [str(posted.evaluation_id), posted.suite_version]


def _write_several(several: Iterable[Posted]) -> list[list[Any]]:
    return [_write(posted) for posted in several]


def _read(written: Sequence[Any]) -> Posted:
    return Posted(evaluation_id=UUID(written[0]), suite_version=written[1])


def _read_several(written: Iterable[Sequence[Any]]) -> tuple[Posted, ...]:
    return tuple(map(_read, written))


def newest_row(session: Session, *, project_id: UUID, evaluation_id: UUID) -> AssessmentRow | None:
    rows = _rows(session, project_id, evaluation_id, limit=1)
    return rows[0] if rows else None


def row_at(session: Session, *, project_id: UUID, evaluation_id: UUID, number: int) -> AssessmentRow:
    """The assessment of that number.

    Raises:
        NoResultFound: There is none.
    """
    query = select(*_COLUMNS).where(
        assessment.c.project_id == project_id,
        assessment.c.evaluation_id == evaluation_id,
        assessment.c.number == number,
    )
    return AssessmentRow(**session.execute(query).mappings().one())


def all_rows(session: Session, *, project_id: UUID, evaluation_id: UUID) -> list[AssessmentRow]:
    """Every assessment of the evaluation, newest first."""
    return _rows(session, project_id, evaluation_id, limit=None)


def load_verdict(session: Session, *, project_id: UUID, evaluation_id: UUID, number: int) -> Verdict:
    """The stored verdict, equal to the one that was stored.

    Raises:
        LookupError: There is no assessment of that number.
    """
    found = session.execute(
        select(
            assessment.c.gate,
            assessment.c.sentence,
            assessment.c.aggregates,
            assessment.c.judged_cells,
            assessment.c.total_cells,
        ).where(
            assessment.c.project_id == project_id,
            assessment.c.evaluation_id == evaluation_id,
            assessment.c.number == number,
        )
    ).one_or_none()
    if found is None:
        raise LookupError(f"evaluation {evaluation_id} has no assessment {number}")
    return Verdict(
        gate=Gate(found.gate),
        sentence=found.sentence,
        checks=_checks(session, project_id, evaluation_id, number),
        aggregates=tuple(map(aggregate_from_document, found.aggregates)),
        judged_cells=found.judged_cells,
        total_cells=found.total_cells,
    )


def _rows(
    session: Session, project_id: UUID, evaluation_id: UUID, *, limit: int | None
) -> list[AssessmentRow]:
    query = (
        select(*_COLUMNS)
        .where(assessment.c.project_id == project_id, assessment.c.evaluation_id == evaluation_id)
        .order_by(assessment.c.number.desc())
        .limit(limit)
    )
    return [AssessmentRow(**row) for row in session.execute(query).mappings()]


def _checks(session: Session, project_id: UUID, evaluation_id: UUID, number: int) -> tuple[Check, ...]:
    columns = check_result.c
    query = (
        select(
            columns.rule, columns.metric, columns.group_name, columns.outcome, columns.required, columns.reason,
            columns.notes, columns.baseline, columns.candidate, columns.worsening, columns.limit, columns.detail,
        )
        .where(
            columns.project_id == project_id,
            columns.evaluation_id == evaluation_id,
            columns.assessment == number,
        )
        .order_by(columns.ordinal)
    )  # fmt: skip
    return tuple(
        Check(
            rule=Rule(rule),
            metric=metric,
            group=group,
            outcome=Outcome(outcome),
            required=required,
            reason=reason,
            notes=tuple(notes),
            baseline=baseline,
            candidate=candidate,
            worsening=worsening,
            limit=limit,
            detail=detail,
        )
        for rule, metric, group, outcome, required, reason, notes, baseline, candidate, worsening, limit, detail
        in session.execute(query)
    )  # fmt: skip
