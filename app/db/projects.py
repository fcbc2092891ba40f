"""Projects and the sinks they are born with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import alert, evaluation, policy, project, run, sink


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    id: UUID
    key: str
    name: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCounts:
    """runs: not archived; open_alerts: neither resolved nor muted."""

    policy_version: int
    runs: int
    evaluations: int
    open_alerts: int


def insert_project(session: Session, row: ProjectRow) -> bool:
    """Whether the row was stored; False when the key is taken, after waiting for whoever is taking it."""
    statement = insert(project).values(
        id=row.id, key=row.key, name=row.name, created_at=row.created_at, created_by=row.created_by
    )
    stored = session.execute(
        statement.on_conflict_do_nothing(index_elements=["key"]).returning(project.c.id)
    ).first()
    return stored is not None


def insert_sink(session: Session, *, project_id: UUID, name: str, kind: str, now: datetime) -> None:
    session.execute(
        insert(sink).values(project_id=project_id, name=name, kind=kind, enabled=True, created_at=now)
    )


def by_key(session: Session, key: str) -> ProjectRow | None:
    found = session.execute(select(project).where(project.c.key == key)).mappings().first()
    return None if found is None else ProjectRow(**found)


_BY_ID = Fixed(select(project).where(project.c.id == bindparam("project_id")))


def by_id(session: Session, project_id: UUID) -> ProjectRow | None:
    found = _BY_ID.first(session, project_id=project_id)
    return None if found is None else ProjectRow(**found)


def lock(session: Session, project_id: UUID) -> None:
    """Make other writers of the project's policy wait, but nobody who only refers to the project."""
    session.execute(
        select(project.c.id).where(project.c.id == project_id).with_for_update(key_share=True)
    ).one()


def page(
    session: Session, *, only: UUID | None = None, limit: int, after: str | None = None
) -> list[ProjectRow]:
    """Projects by key.

    Args:
        only: The one project that the caller may see; None for all.
        after: The key of the last project of the page before.
    """
    query = select(project).order_by(project.c.key.collate("C")).limit(limit)
    if only is not None:
        query = query.where(project.c.id == only)
    if after is not None:
        query = query.where(project.c.key.collate("C") > after)
    return [ProjectRow(**row) for row in session.execute(query).mappings()]


def counts(session: Session, project_id: UUID) -> ProjectCounts:
    newest_policy = select(func.max(policy.c.version)).where(policy.c.project_id == project_id)
    runs = select(func.count()).where(run.c.project_id == project_id, run.c.archived_at.is_(None))
    evaluations = select(func.count()).where(evaluation.c.project_id == project_id)
    alerts = select(func.count()).where(
        alert.c.project_id == project_id, alert.c.state.in_(["open", "acknowledged"])
    )
    row = session.execute(
        select(
            func.coalesce(newest_policy.scalar_subquery(), 0),
            runs.scalar_subquery(),
            evaluations.scalar_subquery(),
            alerts.scalar_subquery(),
        )
    ).one()
    return ProjectCounts(policy_version=row[0], runs=row[1], evaluations=row[2], open_alerts=row[3])
