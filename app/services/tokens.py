"""Tokens: made once, shown once, kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from app.db import Session, audit, runs
from app.db import tokens as db
from app.db.tokens import TokenRow
from app.domain.access import Action, Actor, Role, require
from app.errors import InvalidInput, NotFound
from app.services.documents import checked_name
from app.services.projects import project_for

LOCAL_LABEL = "local"
TOUCH_EVERY = timedelta(minutes=1)
_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_NOBODYS = UUID(int=0)


def create_token(
    session: Session,
    actor: Actor,
    *,
    project: str | None,
    role: Role,
    label: str,
    expires_at: datetime | None,
    run: UUID | None = None,
    now: datetime,
    new_id: Callable[[], UUID],
) -> tuple[TokenRow, str]:
    """A new token and its secret, which nobody can show again.

    Args:
        project: The project's key; None exactly for role admin.
        run: The run it may append to; given exactly for role run.
    """
    if (role is Role.ADMIN) != (project is None):
        raise InvalidInput(
            "an admin token belongs to no project, any other to one; give a project or choose role admin",
            field="project",
        )
    if (role is Role.RUN) != (run is not None):
        raise InvalidInput("a token of role run names its run, no other does", field="run")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise InvalidInput("must be a time to come, with its offset from UTC", field="expires_at")
    project_id = None
    if project is None:
        require(actor, Action.TOKEN_CREATE, project=None)
    else:
        project_id = project_for(session, actor, key=project, action=Action.TOKEN_CREATE, run=actor.run).id
    if run is not None and project_id is not None:
        found = runs.lock(session, project_id=project_id, run_id=run)
        if found is None or found.archived_at is not None:
            raise InvalidInput("no such run in this project, or it is archived", field="run")
    row, secret = mint(
        session,
        actor,
        project_id=project_id,
        role=role,
        label=checked_name(label, field="label"),
        expires_at=expires_at,
        run_id=run,
        now=now,
        new_id=new_id,
    )
    _audit(session, actor, Action.TOKEN_CREATE, row, now)
    return row, secret


def mint(
    session: Session,
    actor: Actor,
    *,
    project_id: UUID | None,
    role: Role,
    label: str,
    expires_at: datetime | None,
    run_id: UUID | None,
    now: datetime,
    new_id: Callable[[], UUID],
) -> tuple[TokenRow, str]:
    """Store a token without asking for rights and without an audit row: the caller does both."""
    prefix = "trn_" + "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    row = TokenRow(
        id=new_id(),
        project_id=project_id,
        run_id=run_id,
        prefix=prefix,
        role=role,
        label=label,
        created_at=now,
        created_by=actor.name,
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
    )
    db.insert_token(session, row, digest=_digest(secret))
    return row, secret


def authenticate(session: Session, secret: str, *, now: datetime) -> Actor | None:
    """Whose secret this is; None for unknown, expired and revoked alike, so that nobody learns which."""
    if not secret.isascii():
        return None
    row = db.by_digest(session, _digest(secret))
    if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.last_used_at is None or row.last_used_at <= now - TOUCH_EVERY:
        db.touch(session, row.id, now=now, at_most_every=TOUCH_EVERY)
    return Actor(
        name=f"{row.label} (token {row.prefix})",
        role=Role(row.role),
        token=row.id,
        project=row.project_id,
        run=row.run_id,
    )


def revoke_token(session: Session, actor: Actor, *, token_id: UUID, now: datetime) -> TokenRow:
    """Close a token for ever; doing it twice changes nothing."""
    row = db.lock(session, token_id)
    require(actor, Action.TOKEN_REVOKE, project=_NOBODYS if row is None else row.project_id, run=actor.run)
    if row is None:
        raise NotFound(f"no token {token_id}; list the tokens to find its id")
    if row.revoked_at is None:
        db.revoke(session, token_id, now=now)
        _audit(session, actor, Action.TOKEN_REVOKE, row, now)
    return row


def list_tokens(
    session: Session,
    actor: Actor,
    *,
    project: str | None,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
) -> list[TokenRow]:
    """A project's tokens (None: the server's own), newest first; `after` as in `db.tokens.page`."""
    project_id = None
    if project is None:
        require(actor, Action.TOKEN_READ, project=None)
    else:
        project_id = project_for(session, actor, key=project, action=Action.TOKEN_READ).id
    return db.page(session, project_id=project_id, limit=limit, after=after)


def ensure_local_admin(
    session: Session, *, now: datetime, new_id: Callable[[], UUID], reissue: bool = False
) -> str:
    """A fresh admin secret for whoever owns this machine.

    Args:
        reissue: Revoke the admin tokens that were made this way before.
    """
    server = Actor(name="server", role=Role.ADMIN)
    if reissue:
        for former in db.standing(session, project_id=None, role=Role.ADMIN, label=LOCAL_LABEL):
            db.revoke(session, former.id, now=now)
            _audit(session, server, Action.TOKEN_REVOKE, former, now)
    _, secret = create_token(
        session,
        server,
        project=None,
        role=Role.ADMIN,
        label=LOCAL_LABEL,
        expires_at=None,
        now=now,
        new_id=new_id,
    )
    return secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _audit(session: Session, actor: Actor, action: Action, row: TokenRow, now: datetime) -> None:
    audit.write(
        session,
        project_id=row.project_id,
        actor=actor.name,
        action=action,
        subject=f"token {row.prefix}",
        detail={"role": row.role, "label": row.label, "run": row.run_id and str(row.run_id)},
        now=now,
    )
