"""Who am I; tokens."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated
from uuid import UUID

from fastapi import Query

from app.api.answers import Listing, MeAnswer, NewTokenAnswer, TokenAnswer, listing
from app.api.dependencies import ActorDep, NewId, Now, PageDep, SessionDep, a_text, a_time, cursor_of
from app.api.router import a_router
from app.api.schemas import Key, NewToken
from app.db import Session, projects
from app.db.tokens import TokenRow
from app.domain.access import Role
from app.errors import InvalidInput
from app.services import tokens

router = a_router("tokens")


@router.get("/me")
def who_am_i(session: SessionDep, actor: ActorDep) -> MeAnswer:
    """The name, role and reach of the token that asks."""
    project = projects.by_id(session, actor.project) if actor.project else None
    return MeAnswer(name=actor.name, role=actor.role, project=project.key if project else None, run=actor.run)


@router.get("/tokens")
def list_tokens(
    session: SessionDep, actor: ActorDep, page: PageDep, project: Annotated[Key | None, Query()] = None
) -> Listing[TokenAnswer]:
    """Tokens of a project, or of the server; never their secrets."""
    after = page.after_as(a_time, lambda value: UUID(a_text(value)))
    rows = tokens.list_tokens(
        session,
        actor,
        project=project,
        limit=page.limit + 1,
        after=None if after is None else (after[0], after[1]),
    )
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    return listing(
        [_answer(session, row) for row in shown],
        cursor_of(shown[-1].created_at.isoformat(), shown[-1].id) if more else None,
    )


@router.post("/tokens", status_code=201)
def create_token(
    session: SessionDep, actor: ActorDep, body: NewToken, now: Now, new_id: NewId
) -> NewTokenAnswer:
    """A new token; its secret is in this answer and nowhere else."""
    expires_at = body.expires_at
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidInput("needs a time zone: 2026-12-01T00:00:00Z", field="expires_at")
    row, secret = tokens.create_token(
        session,
        actor,
        project=body.project,
        role=Role(body.role),
        label=body.label,
        expires_at=None if expires_at is None else expires_at.astimezone(UTC),
        run=body.run,
        now=now,
        new_id=new_id,
    )
    return NewTokenAnswer(**_answer(session, row).model_dump(), token=secret)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(session: SessionDep, actor: ActorDep, token_id: UUID, now: Now) -> None:
    """From now on the token opens nothing."""
    tokens.revoke_token(session, actor, token_id=token_id, now=now)


def _answer(session: Session, row: TokenRow) -> TokenAnswer:
    project = projects.by_id(session, row.project_id) if row.project_id else None
    return TokenAnswer(
        id=row.id,
        prefix=row.prefix,
        role=row.role,
        label=row.label,
        project=project.key if project else None,
        run=row.run_id,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
