"""Tokens: the digest of a secret and what it opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.streams import connection_of
from app.db.tables import token

_SHOWN = [column for column in token.c if column is not token.c.digest]
_BY_DIGEST = f"SELECT {', '.join(column.name for column in _SHOWN)} FROM token WHERE digest = %s"  # noqa: S608  ours


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token without its digest.

    Args:
        project_id: None exactly for role admin; run_id: given exactly for role run.
        prefix: `trn_xxxxxxxx`, enough for people to tell tokens apart.
    """

    id: UUID
    project_id: UUID | None
    run_id: UUID | None
    prefix: str
    role: str
    label: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def insert_token(session: Session, row: TokenRow, *, digest: bytes) -> None:
    session.execute(
        insert(token).values(
            id=row.id,
            project_id=row.project_id,
            run_id=row.run_id,
            prefix=row.prefix,
            digest=digest,
            role=row.role,
            label=row.label,
            created_at=row.created_at,
            created_by=row.created_by,
            expires_at=row.expires_at,
        )
    )


def by_digest(session: Session, digest: bytes) -> TokenRow | None:
    # Asked by every request: by the driver alone in a third of the time that the statement takes to build.
    cursor = connection_of(session).cursor(row_factory=class_row(TokenRow))
    return cursor.execute(_BY_DIGEST, (digest,)).fetchone()


def lock(session: Session, token_id: UUID) -> TokenRow | None:
    query = select(*_SHOWN).where(token.c.id == token_id).with_for_update()
    found = session.execute(query).mappings().first()
    return None if found is None else TokenRow(**found)


def touch(session: Session, token_id: UUID, *, now: datetime, at_most_every: timedelta) -> None:
    """Note the use, unless one was noted lately or another request is noting one right now: nobody waits."""
    due = (
        select(token.c.id)
        .where(
            token.c.id == token_id,
            token.c.last_used_at.is_(None) | (token.c.last_used_at <= now - at_most_every),
        )
        .with_for_update(key_share=True, skip_locked=True)
    )
    session.execute(update(token).where(token.c.id.in_(due)).values(last_used_at=now))


def revoke(session: Session, token_id: UUID, *, now: datetime) -> None:
    session.execute(
        update(token).where(token.c.id == token_id, token.c.revoked_at.is_(None)).values(revoked_at=now)
    )


def revoke_of_run(session: Session, *, project_id: UUID, run_id: UUID, now: datetime) -> int:
    """Revoke every token that opens this run only; how many there were."""
    revoked = session.execute(
        update(token)
        .where(token.c.project_id == project_id, token.c.run_id == run_id, token.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(token.c.id)
    )
    return len(revoked.all())


def standing(session: Session, *, project_id: UUID | None, role: str, label: str) -> list[TokenRow]:
    """The tokens of that scope, role and label which are not revoked, locked, oldest first."""
    scope = token.c.project_id.is_(None) if project_id is None else token.c.project_id == project_id
    query = (
        select(*_SHOWN)
        .where(scope, token.c.role == role, token.c.label == label, token.c.revoked_at.is_(None))
        .order_by(token.c.id)
        .with_for_update()
    )
    return [TokenRow(**row) for row in session.execute(query).mappings()]


def page(
    session: Session,
    *,
    project_id: UUID | None,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> list[TokenRow]:
    """A project's tokens (None: the server's own), revoked ones too, newest first.

    Args:
        after: created_at and id of the last token of the page before.
    """
    scope = token.c.project_id.is_(None) if project_id is None else token.c.project_id == project_id
    query = select(*_SHOWN).where(scope)
    if after is not None:
        query = query.where(tuple_(token.c.created_at, token.c.id) < tuple_(*after))
    query = query.order_by(token.c.created_at.desc(), token.c.id.desc()).limit(limit)
    return [TokenRow(**row) for row in session.execute(query).mappings()]
