"""Projects and what was done in them."""

from __future__ import annotations

from app.api.answers import AuditAnswer, Listing, ProjectAnswer, ProjectDetailsAnswer, listing
from app.api.dependencies import ActorDep, NewId, Now, PageDep, SessionDep, a_text, a_whole, cursor_of
from app.api.router import a_router
from app.api.schemas import NewProject
from app.db import audit
from app.db.projects import ProjectRow
from app.domain.access import Action
from app.services import projects

router = a_router("projects")


@router.post("/projects", status_code=201)
def create_project(
    session: SessionDep, actor: ActorDep, body: NewProject, now: Now, new_id: NewId
) -> ProjectAnswer:
    """A project with the default policy."""
    row = projects.create_project(
        session, actor, key=body.key, name=body.name or body.key, now=now, new_id=new_id
    )
    return _answer(row)


@router.get("/projects")
def list_projects(session: SessionDep, actor: ActorDep, page: PageDep) -> Listing[ProjectAnswer]:
    """The projects that the token may see, by key."""
    after = page.after_as(a_text)
    rows = projects.list_projects(session, actor, limit=page.limit + 1, after=after[0] if after else None)
    shown = rows[: page.limit]
    return listing(map(_answer, shown), cursor_of(shown[-1].key) if len(rows) > page.limit else None)


@router.get("/projects/{project}")
def show_project(session: SessionDep, actor: ActorDep, project: str) -> ProjectDetailsAnswer:
    row, counts = projects.show_project(session, actor, key=project)
    return ProjectDetailsAnswer(
        **_answer(row).model_dump(),
        policy_version=counts.policy_version,
        runs=counts.runs,
        evaluations=counts.evaluations,
        open_alerts=counts.open_alerts,
    )


@router.get("/projects/{project}/audit")
def show_audit(session: SessionDep, actor: ActorDep, project: str, page: PageDep) -> Listing[AuditAnswer]:
    """Who did what, when, why and under which policy; newest first."""
    row = projects.project_for(session, actor, key=project, action=Action.AUDIT_READ)
    after = page.after_as(a_whole)
    rows = audit.page(session, project_id=row.id, limit=page.limit + 1, before=after[0] if after else None)
    shown = rows[: page.limit]
    items = [
        AuditAnswer(
            id=event.id,
            at=event.at,
            actor=event.actor,
            action=event.action,
            subject=event.subject,
            reason=event.reason,
            policy_version=event.policy_version,
            detail=dict(event.detail),
        )
        for event in shown
    ]
    return listing(items, cursor_of(shown[-1].id) if len(rows) > page.limit else None)


def _answer(row: ProjectRow) -> ProjectAnswer:
    return ProjectAnswer(key=row.key, name=row.name, created_at=row.created_at, created_by=row.created_by)
