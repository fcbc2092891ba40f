"""Policies: a new version for every change, and what a draft would do to recent verdicts."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from app.db import Session, audit, projects, suites
from app.db import policies as db
from app.db.policies import PolicyRow
from app.db.projects import ProjectRow
from app.domain.access import Action, Actor
from app.domain.policies import Policy, contradictions, policy_to_document
from app.errors import NotFound
from app.services.documents import storable
from app.services.projects import project_for


class PutPolicy(NamedTuple):
    """The version in force, and sentences about limits that contradict each other, with the arithmetic."""

    version: int
    warnings: tuple[str, ...]


def put_policy(
    session: Session, actor: Actor, *, project_key: str, policy: Policy, now: datetime
) -> PutPolicy:
    """Put rules in force for verdicts to come; what the newest version says already makes no new one."""
    project = project_for(session, actor, key=project_key, action=Action.POLICY_CHANGE)
    document = storable(policy_to_document(policy))
    projects.lock(session, project.id)
    newest = db.newest_row(session, project.id)
    warnings = warnings_about(session, project, policy)
    if newest.document == document:
        return PutPolicy(newest.version, warnings)
    version = newest.version + 1
    db.insert_policy(
        session,
        project_id=project.id,
        version=version,
        document=document,
        now=now,
        created_by=actor.name,
    )
    audit.write(
        session,
        project_id=project.id,
        actor=actor.name,
        action=Action.POLICY_CHANGE,
        subject=f"policy {version}",
        policy_version=version,
        detail={"changed": sorted(key for key in document if document[key] != newest.document.get(key))},
        now=now,
    )
    return PutPolicy(version, warnings)


def show_policy(session: Session, actor: Actor, *, project_key: str, version: int | None = None) -> PolicyRow:
    """The version, or the one in force.

    Raises:
        NotFound: No such version.
    """
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    if version is None:
        return db.newest_row(session, project.id)
    found = db.row_at(session, project.id, version) if 0 < version < 2**31 else None
    if found is None:
        raise NotFound(f"project {project.key} has no policy version {version}; leave it out for the newest")
    return found


def warnings_about(session: Session, project: ProjectRow, policy: Policy) -> tuple[str, ...]:
    """Contradictions between the policy's limits in any of the project's suites, each once."""
    rows = suites.every_newest(session, project_id=project.id)
    sentences = (warning for row in rows for warning in contradictions(policy, row.to_domain()))
    return tuple(dict.fromkeys(sentences))
