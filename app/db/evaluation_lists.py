"""Lists of a run's evaluations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.orm import Session

from app.db.evaluations import EvaluationRow
from app.db.tables import evaluation, suite

_COLUMNS = tuple(evaluation.c[name] for name in EvaluationRow.__slots__)


def page_of_run(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    suite_key: str | None,
    stage: str | None,
    limit: int,
    after: tuple[int, int, UUID] | None = None,
) -> list[EvaluationRow]:
    """The newest position first.

    Args:
        suite_key, stage: Only this suite's, only this stage's.
        after: `Position.key()` of the last one of the page before.
    """
    # A step that was never counted comes before step 0, as in Position.key().
    order = (evaluation.c.attempt, func.coalesce(evaluation.c.step, -1), evaluation.c.id)
    query = select(*_COLUMNS).where(evaluation.c.project_id == project_id, evaluation.c.run_id == run_id)
    if suite_key is not None:
        query = query.join(
            suite, (suite.c.project_id == evaluation.c.project_id) & (suite.c.id == evaluation.c.suite_id)
        ).where(suite.c.key == suite_key)
    if stage is not None:
        query = query.where(evaluation.c.stage == stage)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(*(literal(part) for part in after)))
    rows = session.execute(query.order_by(*(column.desc() for column in order)).limit(limit))
    return [EvaluationRow(**row) for row in rows.mappings()]
