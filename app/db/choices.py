"""Steps of test-time compute: what the candidates were worth and which was taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as insert_into
from sqlalchemy.orm import Session

from app.db.streams import StreamRow
from app.db.tables import ttc_step
from app.domain.history import Choice
from app.domain.ttc import Selection


def insert(session: Session, row: StreamRow, choices: Iterable[Choice]) -> None:
    written = [
        {
            "project_id": row.project_id,
            "run_id": row.run_id,
            "stream_id": row.id,
            "idx": choice.idx,
            "attempt": row.attempt,
            "at": datetime.fromtimestamp(choice.time, UTC),
            "step": choice.selection.step,
            "rewards": list(choice.selection.rewards),
            "chosen": choice.selection.chosen,
        }
        for choice in choices
    ]
    if written:
        session.execute(insert_into(ttc_step), written)


def count(session: Session, *, project_id: UUID, run_id: UUID) -> int:
    """Of all attempts, whether they were cut or not."""
    query = select(func.count()).where(ttc_step.c.project_id == project_id, ttc_step.c.run_id == run_id)
    return session.execute(query).scalar_one()


def of_run(
    session: Session, *, project_id: UUID, run_id: UUID, cuts: Mapping[int, int | None], limit: int
) -> list[Selection]:
    """By step, the latest `limit` of them; of equal steps the later record.

    Args:
        cuts: Up to which step each attempt counts, as `history.cuts` says; None without end.
    """
    query = (
        select(ttc_step.c.attempt, ttc_step.c.step, ttc_step.c.rewards, ttc_step.c.chosen)
        .where(ttc_step.c.project_id == project_id, ttc_step.c.run_id == run_id)
        .order_by(ttc_step.c.step.desc(), ttc_step.c.attempt.desc(), ttc_step.c.idx.desc())
        .limit(limit)
    )
    found: dict[int, Selection] = {}
    for attempt, step, rewards, chosen in session.execute(query):
        cut = cuts.get(attempt)
        if step not in found and (cut is None or step < cut):
            found[step] = Selection(step=step, rewards=tuple(rewards), chosen=chosen)
    return [found[step] for step in sorted(found)]
