"""What a board shows of an evaluation beside its number: its run, its verdict, its validity."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, Text, Uuid, any_, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH
from sqlalchemy.orm import Session

from app.db import stale
from app.db.tables import assessment, evaluation, run
from app.domain.evaluations import Validity
from app.domain.outcomes import Gate


def of_evaluations(
    session: Session, *, project_id: UUID, metric: str, evaluation_ids: Sequence[UUID]
) -> dict[UUID, RowMapping]:
    """By evaluation id; `worst` is the stored aggregate of that name for the metric, as JSON."""
    worst = func.jsonb_path_query_first(
        assessment.c.aggregates,
        cast('$[*] ? (@.name == "worst" && @.metric == $metric)', JSONPATH),
        func.jsonb_build_object("metric", cast(metric, Text)),
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
    query = (
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
            evaluation.c.project_id == project_id,
            evaluation.c.id == any_(cast(list(evaluation_ids), ARRAY(Uuid))),
        )
    )
    return {row["id"]: row for row in session.execute(query).mappings()}
