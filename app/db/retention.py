"""For how long each project keeps what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import project, retention
from app.domain.retention import Retention

_RULES = tuple(retention.c[name] for name in Retention.__dataclass_fields__)


def of_project(session: Session, project_id: UUID) -> Retention:
    """The project's rules; the defaults where it never said."""
    row = session.execute(select(*_RULES).where(retention.c.project_id == project_id)).mappings().first()
    return Retention() if row is None else Retention(**row)


def of_every_project(session: Session) -> list[tuple[UUID, str, Retention]]:
    """(id, key, rules) of all projects, by key."""
    query = (
        select(project.c.id, project.c.key, retention.c.project_id.label("said"), *_RULES)
        .outerjoin(retention, retention.c.project_id == project.c.id)
        .order_by(project.c.key.collate("C"))
    )
    found = []
    for row in session.execute(query).mappings():
        rules = {column.name: row[column.name] for column in _RULES}
        found.append((row["id"], row["key"], Retention() if row["said"] is None else Retention(**rules)))
    return found


def put(session: Session, *, project_id: UUID, rules: Retention, now: datetime, by: str) -> None:
    values = {**asdict(rules), "updated_at": now, "updated_by": by}
    statement = insert(retention).values(project_id=project_id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["project_id"], set_=values))
