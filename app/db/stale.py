"""Verdicts that are out of date: derived by comparing versions, never written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Integer, Select, and_, any_, bindparam, exists, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.db import seeds
from app.db.fixed import Fixed
from app.db.tables import assessment, baseline, baseline_event, evaluation, run, suite
from app.domain.evaluations import Purpose, Validity


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleRow:
    """An evaluation to judge again."""

    project_id: UUID
    suite_id: UUID
    stage: str
    evaluation_id: UUID
    run_id: UUID


def is_stale() -> ColumnElement[bool]:
    """Whether an `evaluation`, joined as in `joined()`, is out of date.

    The champion moved since it was judged, and it is its run's latest or was measured against a champion that has
    been found invalid; or it is its run's latest and seeds have come or gone, of its own recipe or of a champion's; or
    it is a candidate that was pooled with other weights than the suite's of today.
    """
    moved = evaluation.c.judged_version < baseline.c.version
    return or_(
        and_(moved, or_(evaluation.c.is_latest, _measured_against_invalid())),
        seeds.is_behind(),
        and_(
            evaluation.c.purpose == Purpose.CANDIDATE.value,
            evaluation.c.weights_version < suite.c.weights_version,
        ),
    )


def joined(source: FromClause) -> FromClause:
    """`source`, which holds `evaluation`, with its pointer and its suite beside it."""
    return source.join(
        baseline,
        (baseline.c.project_id == evaluation.c.project_id)
        & (baseline.c.suite_id == evaluation.c.suite_id)
        & (baseline.c.stage == evaluation.c.stage),
    ).join(suite, (suite.c.project_id == evaluation.c.project_id) & (suite.c.id == evaluation.c.suite_id))


def find(session: Session, *, limit: int) -> list[StaleRow]:
    """Some evaluations to judge again, all of one suite and stage; [] when nothing is stale."""
    for search in _SEARCHES:
        rows = [StaleRow(**row) for row in search.all(session, most=limit)]
        if rows:
            first = rows[0]
            return [row for row in rows if (row.suite_id, row.stage) == (first.suite_id, first.stage)]
    return []


def still(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> set[UUID]:
    """Which of the evaluations are stale at this moment."""
    return {row["id"] for row in _STILL.all(session, project_id=project_id, ids=sorted(ids))}


def measured_against_invalid(session: Session, *, project_id: UUID, ids: Iterable[UUID]) -> set[UUID]:
    """Which of the evaluations were last measured against a champion that is invalid now."""
    query = select(evaluation.c.id).where(
        evaluation.c.project_id == project_id,
        evaluation.c.id.in_(sorted(ids)),
        _measured_against_invalid(),
    )
    return set(session.execute(query).scalars())


def _search(condition: ColumnElement[bool]) -> Fixed:
    return Fixed(
        select(
            evaluation.c.project_id,
            evaluation.c.suite_id,
            evaluation.c.stage,
            evaluation.c.id.label("evaluation_id"),
            evaluation.c.run_id,
        )
        .select_from(joined(evaluation))
        .where(condition)
        .order_by(evaluation.c.project_id, evaluation.c.suite_id, evaluation.c.stage, evaluation.c.id)
        .limit(bindparam("most", type_=Integer))
    )


def _measured_against_invalid() -> ColumnElement[bool]:
    against, of_run = evaluation.alias("against"), run.alias("of_run")
    return exists(
        select(assessment.c.number)
        .join(
            against,
            (against.c.project_id == assessment.c.project_id)
            & (against.c.id == assessment.c.baseline_evaluation_id),
        )
        .join(of_run, (of_run.c.project_id == against.c.project_id) & (of_run.c.id == against.c.run_id))
        .where(
            assessment.c.project_id == evaluation.c.project_id,
            assessment.c.evaluation_id == evaluation.c.id,
            assessment.c.number == evaluation.c.assessment,
            or_(
                against.c.validity == Validity.INVALID.value,
                of_run.c.validity == Validity.INVALID.value,
            ),
        )
        .correlate(evaluation)
    )


def _measured_against_fallen_champions() -> Select[tuple[UUID]]:
    """Ids of evaluations that have ever been measured against a champion that is invalid now.

    Champions are few and assessments many: this begins at the champions.
    """
    champion, of_run = evaluation.alias("champion"), run.alias("champion_run")
    return (
        select(assessment.c.evaluation_id)
        .select_from(baseline_event)
        .join(
            champion,
            (champion.c.project_id == baseline_event.c.project_id)
            & (champion.c.id == baseline_event.c.evaluation_id),
        )
        .join(of_run, (of_run.c.project_id == champion.c.project_id) & (of_run.c.id == champion.c.run_id))
        .join(
            assessment,
            (assessment.c.project_id == champion.c.project_id)
            & (assessment.c.baseline_evaluation_id == champion.c.id),
        )
        .where(
            or_(champion.c.validity == Validity.INVALID.value, of_run.c.validity == Validity.INVALID.value)
        )
    )


_SEARCHES = tuple(
    map(
        _search,
        (
            and_(evaluation.c.judged_version < baseline.c.version, evaluation.c.is_latest),
            and_(
                evaluation.c.judged_version < baseline.c.version,
                evaluation.c.id.in_(_measured_against_fallen_champions()),
                _measured_against_invalid(),
            ),
            and_(
                evaluation.c.purpose == Purpose.CANDIDATE.value,
                evaluation.c.weights_version < suite.c.weights_version,
            ),
            seeds.behind_their_set(),
            seeds.behind_the_champions(),
        ),
    )
)
_STILL = Fixed(
    select(evaluation.c.id)
    .select_from(joined(evaluation))
    .where(
        evaluation.c.project_id == bindparam("project_id"),
        evaluation.c.id == any_(bindparam("ids", type_=ARRAY(evaluation.c.id.type))),
        is_stale(),
    )
)
