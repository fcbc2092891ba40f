"""For how long a project keeps things, and who said so."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from app.db import Session, audit, projects
from app.db import retention as db
from app.domain.access import Action, Actor
from app.domain.retention import LONGEST_DAYS, Retention
from app.errors import InvalidInput
from app.services.projects import project_for


def show_retention(session: Session, actor: Actor, *, project_key: str) -> Retention:
    project = project_for(session, actor, key=project_key, action=Action.PROJECT_READ)
    return db.of_project(session, project.id)


def put_retention(
    session: Session, actor: Actor, *, project_key: str, rules: Retention, now: datetime
) -> Retention:
    """Put rules in force; the worker follows them from now on. Saying what holds already leaves no trace."""
    project = project_for(session, actor, key=project_key, action=Action.RETENTION_CHANGE)
    for name, days in asdict(rules).items():
        if days is not None and not 1 <= days <= LONGEST_DAYS:
            raise InvalidInput(f"needs 1 to {LONGEST_DAYS} days, or null to keep for ever", field=name)
    projects.lock(session, project.id)
    before = db.of_project(session, project.id)
    if before == rules:
        return rules
    db.put(session, project_id=project.id, rules=rules, now=now, by=actor.name)
    was, becomes = asdict(before), asdict(rules)
    audit.write(
        session,
        project_id=project.id,
        actor=actor.name,
        action=Action.RETENTION_CHANGE,
        subject="retention",
        detail={
            name: {"before": was[name], "after": becomes[name]} for name in was if was[name] != becomes[name]
        },
        now=now,
    )
    return rules
