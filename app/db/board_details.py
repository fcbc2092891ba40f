"""What a board shows of an evaluation beside its number: its run, its verdict, its validity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, Text, Uuid, any_, bindparam, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH
from sqlalchemy.orm import Session

from app.db import stale
from app.db.tables import assessment, evaluation, leaderboard_row, run
from app.domain.evaluations import Validity
from app.domain.outcomes import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRow:
    """An evaluation as it stands on one board.

    Args:
        value, recipe: None where it has no such number.
    """

    run_key: str
    value: float | None
    recipe: bytes | None


def of_evaluations(
    session: Session, *, project_id: UUID, metric: str, evaluation_ids: Sequence[UUID]
) -> dict[UUID, RowMapping]:
    """By evaluation id; `worst` is the stored aggregate of that name for the metric, as JSON."""
    wanted = {"project_id": project_id, "metric": metric, "ids": list(evaluation_ids)}
    return {row["id"]: row for row in session.execute(_details(), wanted).mappings()}


def standing_of(
    session: Session, *, project_id: UUID, evaluation_id: UUID, cell: bytes
) -> StandingRow | None:
    """The evaluation's run and its number in that cell; None when there is no such evaluation."""
    query = (
        select(run.c.key.label("run_key"), leaderboard_row.c.value, leaderboard_row.c.recipe)
        .select_from(evaluation)
        .join(run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id))
        .outerjoin(
            leaderboard_row,
            (leaderboard_row.c.project_id == evaluation.c.project_id)
            & (leaderboard_row.c.evaluation_id == evaluation.c.id)
            & (leaderboard_row.c.cell == cell),
        )
        .where(evaluation.c.project_id == project_id, evaluation.c.id == evaluation_id)
    )
    found = session.execute(query).mappings().first()
    return None if found is None else StandingRow(**found)


@cache
def _details() -> Select[Any]:
    """Built once: building it anew takes longer than the database takes for a page."""
    worst = func.jsonb_path_query_first(
        assessment.c.aggregates,
        cast('$[*] ? (@.name == "worst" && @.metric == $metric)', JSONPATH),
        func.jsonb_build_object("metric", cast(bindparam("metric"), Text)),
        type_=JSONB,
    )
    is_invalid = or_(
        evaluation.c.validity == Validity.INVALID.value, run.c.validity == Validity.INVALID.value
    )
    source = stale.joined(
        evaluation.join(
            run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id)
        ).join(
            assessment,
            (assessment.c.project_id == evaluation.c.project_id)
            & (assessment.c.evaluation_id == evaluation.c.id)
            & (assessment.c.number == evaluation.c.assessment),
        )
    )
    return (
        select(
            evaluation.c.id,
            run.c.key.label("run_key"),
            run.c.name,
            run.c.tags,
            worst.label("worst"),
            case((is_invalid, Gate.CLOSED.value), else_=evaluation.c.gate).label("gate"),
            stale.is_stale().label("stale"),
            evaluation.c.validity,
            evaluation.c.validity_reason,
            run.c.validity.label("run_validity"),
            run.c.validity_reason.label("run_validity_reason"),
            run.c.archived_at,
            evaluation.c.created_at,
        )
        .select_from(source)
        # One array: the statement's text is the same for any number of ids, so that it is planned once.
        .where(
            evaluation.c.project_id == bindparam("project_id"),
            evaluation.c.id == any_(cast(bindparam("ids"), ARRAY(Uuid))),
        )
    )
