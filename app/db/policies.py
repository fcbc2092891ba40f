"""Policies: every version of a project's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import evaluation, policy, run, suite
from app.domain.policies import Policy, policy_from_document


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One version; document as `domain.policies.policy_to_document` writes it."""

    version: int
    document: Mapping[str, Any]
    created_at: datetime
    created_by: str

    def to_domain(self) -> Policy:
        return policy_from_document(self.document, version=self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestVerdict:
    """Where a verdict stands; run and suite are keys."""

    evaluation_id: UUID
    run: str
    suite: str
    stage: str


def insert_policy(
    session: Session,
    *,
    project_id: UUID,
    version: int,
    document: Mapping[str, Any],
    now: datetime,
    created_by: str,
) -> None:
    session.execute(
        insert(policy).values(
            project_id=project_id,
            version=version,
            document=dict(document),
            created_at=now,
            created_by=created_by,
        )
    )


def newest_row(session: Session, project_id: UUID) -> PolicyRow:
    """The rules in force; every project has had some since it was created."""
    return _required(_NEWEST.first(session, project_id=project_id))


def row_at(session: Session, project_id: UUID, version: int) -> PolicyRow | None:
    found = _AT.first(session, project_id=project_id, version=version)
    return None if found is None else PolicyRow(**found)


def newest(session: Session, project_id: UUID) -> Policy:
    return newest_row(session, project_id).to_domain()


def at(session: Session, project_id: UUID, version: int) -> Policy:
    """That version, which verdicts refer to and which never changes."""
    return _required(_AT.first(session, project_id=project_id, version=version)).to_domain()


def latest_verdicts(session: Session, project_id: UUID, *, limit: int) -> list[LatestVerdict]:
    """The newest of the project's latest candidate evaluations: those that leaderboards show."""
    query = (
        select(
            evaluation.c.id.label("evaluation_id"),
            run.c.key.label("run"),
            suite.c.key.label("suite"),
            evaluation.c.stage,
        )
        .select_from(evaluation)
        .join(run, (run.c.project_id == evaluation.c.project_id) & (run.c.id == evaluation.c.run_id))
        .join(suite, (suite.c.project_id == evaluation.c.project_id) & (suite.c.id == evaluation.c.suite_id))
        .where(evaluation.c.project_id == project_id, evaluation.c.is_latest)
        .order_by(evaluation.c.created_at.desc(), evaluation.c.id.desc())
        .limit(limit)
    )
    return [LatestVerdict(**row) for row in session.execute(query).mappings()]


_OF_PROJECT = select(policy.c.version, policy.c.document, policy.c.created_at, policy.c.created_by).where(
    policy.c.project_id == bindparam("project_id")
)
_NEWEST = Fixed(_OF_PROJECT.order_by(policy.c.version.desc()).limit(1))
_AT = Fixed(_OF_PROJECT.where(policy.c.version == bindparam("version")))


def _required(found: Mapping[str, Any] | None) -> PolicyRow:
    if found is None:
        raise LookupError("the project has no such policy, and every one has had some since it was created")
    return PolicyRow(**found)
