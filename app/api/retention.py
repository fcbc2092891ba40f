"""For how long a project keeps what."""

from __future__ import annotations

from dataclasses import asdict

from app.api.answers import RetentionAnswer
from app.api.dependencies import ActorDep, Now, SessionDep
from app.api.router import a_router
from app.api.schemas import RetentionBody
from app.domain.retention import Retention
from app.services import retention

router = a_router("projects")


@router.get("/projects/{project}/retention")
def show_retention(session: SessionDep, actor: ActorDep, project: str) -> RetentionAnswer:
    """For how many days things are kept; null is for ever."""
    return _answer(retention.show_retention(session, actor, project_key=project))


@router.put("/projects/{project}/retention")
def put_retention(
    session: SessionDep, actor: ActorDep, project: str, body: RetentionBody, now: Now
) -> RetentionAnswer:
    """Set all the rules; the worker follows them within minutes, and what it removes is gone.

    Never removed, whatever its age: champions of today and of before, what a verdict that stays was computed from,
    what an unresolved alert names, buried messages, the audit trail. `truerun-server purge --dry-run` shows the rest.
    """
    rules = Retention(**body.model_dump())
    return _answer(retention.put_retention(session, actor, project_key=project, rules=rules, now=now))


def _answer(rules: Retention) -> RetentionAnswer:
    return RetentionAnswer(**asdict(rules))
