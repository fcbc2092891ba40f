"""Runs and their attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import attempt, baseline, evaluation, leaderboard_row, run, suite


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run.

    Args:
        config, environment: Strict JSON: non-finite numbers are the strings NaN, Infinity, -Infinity.
        seed, split_seeded: None while the run did not say.
        summary: What the newest attempt said of the training as a whole; strict JSON too.
        recipe: `domain.recipes.recipe_digest` of config and git_commit.
    """

    project_id: UUID
    id: UUID
    key: str
    name: str
    run_group: str | None
    status: str
    config: Mapping[str, Any]
    tags: list[str]
    notes: str
    seed: int | None
    split_seeded: bool | None
    git_commit: str | None
    environment: Mapping[str, Any]
    recipe: bytes
    newest_attempt: int
    validity: str
    validity_reason: str | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    archived_at: datetime | None
    summary: Mapping[str, Any] = field(default_factory=dict)
    stop_requested: bool = False


def insert_run(session: Session, row: RunRow) -> bool:
    """Whether the row was stored; False when the key is taken, after waiting for whoever is taking it."""
    statement = insert(run).values(asdict(row)).on_conflict_do_nothing(index_elements=["project_id", "key"])
    return session.execute(statement.returning(run.c.id)).first() is not None


_BY_ID = Fixed(select(run).where(run.c.id == bindparam("run_id")))
_LOCK_SEVERAL = Fixed(
    select(run)
    .where(
        run.c.project_id == bindparam("project_id"),
        run.c.id == any_(bindparam("run_ids", type_=ARRAY(run.c.id.type))),
    )
    .order_by(run.c.id)
    .with_for_update(key_share=True)
)


def by_id(session: Session, run_id: UUID) -> RunRow | None:
    found = _BY_ID.first(session, run_id=run_id)
    return None if found is None else RunRow(**found)


def by_key(session: Session, *, project_id: UUID, key: str) -> RunRow | None:
    return _one(session, select(run).where(run.c.project_id == project_id, run.c.key == key))


def lock(session: Session, *, project_id: UUID, run_id: UUID) -> RunRow | None:
    """The run, locked against every other writer until the transaction ends."""
    rows = lock_several(session, project_id=project_id, run_ids=[run_id])
    return rows[0] if rows else None


def lock_by_key(session: Session, *, project_id: UUID, key: str) -> RunRow | None:
    query = select(run).where(run.c.project_id == project_id, run.c.key == key)
    return _one(session, query.with_for_update(key_share=True))


def lock_several(session: Session, *, project_id: UUID, run_ids: Iterable[UUID]) -> list[RunRow]:
    """The runs by id, locked in that order: everybody who locks several does so in the same order."""
    rows = _LOCK_SEVERAL.all(session, project_id=project_id, run_ids=sorted(set(run_ids)))
    return [RunRow(**row) for row in rows]


def update_run(session: Session, row: RunRow) -> None:
    """Store every column of a locked run again; its leaderboard rows follow its recipe."""
    here = (run.c.project_id == row.project_id, run.c.id == row.id)
    session.execute(update(run).where(*here).values(asdict(row)))
    session.execute(
        update(leaderboard_row)
        .where(
            leaderboard_row.c.project_id == row.project_id,
            evaluation.c.project_id == leaderboard_row.c.project_id,
            evaluation.c.id == leaderboard_row.c.evaluation_id,
            evaluation.c.run_id == row.id,
            leaderboard_row.c.recipe != row.recipe,
        )
        .values(recipe=row.recipe)
    )


def attempt_number(session: Session, *, project_id: UUID, run_id: UUID, attempt_id: UUID) -> int | None:
    return session.execute(
        select(attempt.c.number).where(
            attempt.c.project_id == project_id,
            attempt.c.run_id == run_id,
            attempt.c.attempt_id == attempt_id,
        )
    ).scalar_one_or_none()


def insert_attempt(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    number: int,
    attempt_id: UUID,
    resume_step: int | None,
    now: datetime,
) -> None:
    """Add an attempt of a locked run; the number is its newest_attempt + 1."""
    session.execute(
        insert(attempt).values(
            project_id=project_id,
            run_id=run_id,
            number=number,
            attempt_id=attempt_id,
            resume_step=resume_step,
            started_at=now,
        )
    )


def championships(session: Session, *, project_id: UUID, run_id: UUID) -> list[tuple[str, str]]:
    """(suite key, stage) wherever an evaluation of the run is the champion."""
    query = (
        select(suite.c.key, baseline.c.stage)
        .select_from(baseline)
        .join(
            evaluation,
            (evaluation.c.project_id == baseline.c.project_id)
            & (evaluation.c.id == baseline.c.evaluation_id),
        )
        .join(suite, (suite.c.project_id == baseline.c.project_id) & (suite.c.id == baseline.c.suite_id))
        .where(evaluation.c.project_id == project_id, evaluation.c.run_id == run_id)
        .order_by(suite.c.key, baseline.c.stage)
    )
    return [(key, stage) for key, stage in session.execute(query)]


def _one(session: Session, query: Select[Any]) -> RunRow | None:
    found = session.execute(query).mappings().first()
    return None if found is None else RunRow(**found)
