"""Policies: a new version for every change, and what a draft would do to recent verdicts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.db import Session, assessments, audit, projects, suites
from app.db import policies as db
from app.db.policies import LatestVerdict, PolicyRow
from app.db.projects import ProjectRow
from app.domain.access import Action, Actor
from app.domain.assess import assess
from app.domain.outcomes import Gate, Verdict
from app.domain.policies import Policy, contradictions, policy_to_document
from app.errors import NotFound
from app.services.documents import storable
from app.services.judging import recorded_input
from app.services.projects import project_for

# How many of the newest verdicts a preview looks at.
PREVIEWED = 100


class PutPolicy(NamedTuple):
    """The version in force, and sentences about limits that contradict each other, with the arithmetic."""

    version: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedVerdict:
    """A verdict that a draft would change; run and suite are keys."""

    evaluation_id: UUID
    run: str
    suite: str
    stage: str
    gate_now: Gate
    gate_then: Gate
    sentence_then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a draft would do to the newest verdicts.

    Args:
        changed: Newest first.
        examined: How many were looked at.
    """

    changed: tuple[ChangedVerdict, ...]
    examined: int
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


def preview(
    session: Session, actor: Actor, *, project_key: str, policy: Policy, limit: int = PREVIEWED
) -> Preview:
    """Judge the newest verdicts again by a draft, from what each was computed from; nothing is stored.

    A verdict changes when its gate or the outcome of any check does; a tolerance that moves without consequence
    changes nothing.
    """
    project = project_for(session, actor, key=project_key, action=Action.POLICY_PREVIEW)
    latest = db.latest_verdicts(session, project.id, limit=limit)
    changed = (_change(session, project.id, verdict, policy) for verdict in latest)
    return Preview(
        changed=tuple(change for change in changed if change is not None),
        examined=len(latest),
        warnings=warnings_about(session, project, policy),
    )


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


def _change(
    session: Session, project_id: UUID, latest: LatestVerdict, draft: Policy
) -> ChangedVerdict | None:
    row = assessments.newest_row(session, project_id=project_id, evaluation_id=latest.evaluation_id)
    if row is None:
        raise LookupError(f"evaluation {latest.evaluation_id} has no assessment")
    now = assessments.load_verdict(
        session, project_id=project_id, evaluation_id=latest.evaluation_id, number=row.number
    )
    then = assess(replace(recorded_input(session, row), policy=draft))
    if now.gate is then.gate and _outcomes(now) == _outcomes(then):
        return None
    return ChangedVerdict(
        evaluation_id=latest.evaluation_id,
        run=latest.run,
        suite=latest.suite,
        stage=latest.stage,
        gate_now=now.gate,
        gate_then=then.gate,
        sentence_then=then.sentence,
    )


def _outcomes(verdict: Verdict) -> Counter[tuple[object, ...]]:
    return Counter(
        (check.rule, check.metric, check.group, check.outcome, check.required) for check in verdict.checks
    )
