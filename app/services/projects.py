"""Projects: who may see one, and how one begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from app.db import Session, audit, policies
from app.db import projects as db
from app.db.projects import ProjectCounts, ProjectRow
from app.domain.access import Action, Actor, Role, may, require
from app.domain.policies import policy_from_toml, policy_to_document, template
from app.errors import Conflict, NotFound
from app.services.documents import checked_key, checked_name, storable

# No project has it: asking for rights on it answers as a project of somebody else does.
_NOBODYS = UUID(int=0)


def project_for(
    session: Session, actor: Actor, *, key: str, action: Action, run: UUID | None = None
) -> ProjectRow:
    """The project, if the actor may do `action` in it.

    Args:
        run: The run it is about; needed for a run token.

    Raises:
        NotFound: There is none, or it is another's: the same words for both.
        Forbidden: The actor's role does not carry the action.
    """
    found = find_project(session, actor, key=key, action=action, run=run)
    if found is None:
        raise NotFound(f"no project {key[:128]!r}; an admin token creates it")
    return found


def find_project(
    session: Session, actor: Actor, *, key: str, action: Action, run: UUID | None = None
) -> ProjectRow | None:
    """As `project_for`, but None where there is none and the actor may know that."""
    # Not a key, so not a project: such text (a NUL, say) must not reach the database.
    is_key = key.isascii() and key.isprintable()
    found = db.by_key(session, key) if is_key else None
    try:
        require(actor, action, project=found.id if found else _NOBODYS, run=run)
    except NotFound:
        raise NotFound(
            f"no project {key[:128]!r} for this token; check the name, use a token of that project, "
            "or ask an admin"
        ) from None
    return found


def create_project(
    session: Session, actor: Actor, *, key: str, name: str, now: datetime, new_id: Callable[[], UUID]
) -> ProjectRow:
    """A new project with the default policy as version 1 and its verdicts written to the log.

    Raises:
        Forbidden, InvalidInput: As usual.
        Conflict: The key is taken.
    """
    require(actor, Action.PROJECT_CREATE, project=None)
    row = ProjectRow(
        id=new_id(),
        key=checked_key(key, field="key"),
        name=checked_name(name or key, field="name"),
        created_at=now,
        created_by=actor.name,
    )
    if not db.insert_project(session, row):
        raise Conflict(f"project {key!r} exists; use it or choose another key", field="key")
    policy = policy_to_document(policy_from_toml(template("default"), version=1))
    policies.insert_policy(
        session,
        project_id=row.id,
        version=1,
        document=storable(policy),
        now=now,
        created_by=actor.name,
    )
    db.insert_sink(session, project_id=row.id, name="log", kind="log", now=now)
    audit.write(
        session,
        project_id=row.id,
        actor=actor.name,
        action=Action.PROJECT_CREATE,
        subject=f"project {row.key}",
        policy_version=1,
        now=now,
    )
    return row


def show_project(session: Session, actor: Actor, *, key: str) -> tuple[ProjectRow, ProjectCounts]:
    row = project_for(session, actor, key=key, action=Action.PROJECT_READ)
    return row, db.counts(session, row.id)


def list_projects(
    session: Session, actor: Actor, *, limit: int, after: str | None = None
) -> list[ProjectRow]:
    """The projects that the actor may see, by key; `after` is the last key of the page before."""
    if actor.role is not Role.ADMIN:
        require(actor, Action.PROJECT_READ, project=actor.project, run=actor.run)
    return db.page(session, only=actor.project, limit=limit, after=after)


def ensure_project(
    session: Session, actor: Actor, *, key: str, action: Action, now: datetime, new_id: Callable[[], UUID]
) -> ProjectRow:
    """The project, made now if there is none and the actor may make one; two makers at once get the same.

    Raises:
        NotFound: There is none and the actor may not make one; the message says who may.
    """
    found = find_project(session, actor, key=key, action=action, run=actor.run)
    if found is None and may(actor, Action.PROJECT_CREATE):
        try:
            return create_project(session, actor, key=key, name=key, now=now, new_id=new_id)
        except Conflict:
            found = db.by_key(session, key)
    if found is None:
        raise NotFound(f"no project {key[:128]!r}; an admin token creates it")
    return found
