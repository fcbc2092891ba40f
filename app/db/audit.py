"""Who did what: append-only rows, written in the transaction of the deed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import audit_event

# Stands for the server itself, where a deed belongs to no project.
SERVER = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One deed. action: as in `domain.access.Action`; subject: what it was done to, e.g. `run width-64`."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str | None
    policy_version: int | None
    detail: Mapping[str, Any]


_WRITTEN = ("project_id", "at", "actor", "action", "subject", "reason", "policy_version", "detail")
_WRITE = Fixed(insert(audit_event).inline(), columns=_WRITTEN)


def write(
    session: Session,
    *,
    project_id: UUID | None,
    actor: str,
    action: str,
    subject: str,
    now: datetime,
    reason: str | None = None,
    policy_version: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one row.

    Args:
        project_id: None for the server itself.
        detail: Strict JSON; never a secret.
    """
    _WRITE.run(
        session,
        project_id=project_id or SERVER,
        at=now,
        actor=actor,
        action=action,
        subject=subject,
        reason=reason,
        policy_version=policy_version,
        detail=dict(detail or {}),
    )


def page(
    session: Session, *, project_id: UUID | None, limit: int, before: int | None = None
) -> list[AuditRow]:
    """The newest rows first; `before` is the id of the last row of the page before."""
    columns = [column for column in audit_event.c if column is not audit_event.c.project_id]
    query = select(*columns).where(audit_event.c.project_id == (project_id or SERVER))
    if before is not None:
        query = query.where(audit_event.c.id < before)
    rows = session.execute(query.order_by(audit_event.c.id.desc()).limit(limit)).mappings()
    return [AuditRow(**row) for row in rows]
