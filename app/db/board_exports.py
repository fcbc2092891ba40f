"""The whole of each run's latest evaluation, for files."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import case, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.db.tables import leaderboard_row
from app.domain.evaluations import OVERALL

_WHOLES = (OVERALL, "macro")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """One metric of one run: its overall, or its macro mean where it has none."""

    run_id: UUID
    metric: str
    value: float
    bound: str


def wholes(session: Session, *, project_id: UUID, suite_id: UUID, stage: str) -> list[Whole]:
    rows = leaderboard_row.c
    preferred = case((rows.group_name == OVERALL, 0), else_=1)
    query = (
        select(rows.run_id, rows.metric, rows.value, rows.bound)
        .where(
            rows.project_id == project_id,
            rows.suite_id == suite_id,
            rows.stage == stage,
            rows.is_latest,
            rows.eligible,
            rows.group_name.in_(_WHOLES),
        )
        .ext(distinct_on(rows.run_id, rows.metric))
        .order_by(rows.run_id, rows.metric, preferred)
    )
    return [Whole(**row) for row in session.execute(query).mappings()]
