"""What every post of a suite is stored and judged by, read with one statement."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, select, true
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.policies import PolicyRow
from app.db.tables import policy, project, suite
from app.db.weights import FrozenWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """As it stands now: the suite's weights, and the project's newest policy."""

    weights: FrozenWeights
    policy: PolicyRow
    project_key: str


def current(session: Session, *, project_id: UUID, suite_id: UUID) -> Standing:
    """What is in force, nothing of it locked.

    Raises:
        LookupError: There is no such suite, or its project has no policy, of which each has had one from the start.
    """
    found = _CURRENT.first(session, project_id=project_id, suite_id=suite_id)
    if found is None:
        raise LookupError(f"no suite {suite_id} of a project with a policy")
    weights = {name: found.pop(name) for name in ("shares", "are_final", "evaluation_id", "weights_version")}
    key = found.pop("key")
    return Standing(
        weights=FrozenWeights(version=weights.pop("weights_version"), **weights),
        policy=PolicyRow(**found),
        project_key=key,
    )


_newest = (
    select(policy.c.version, policy.c.document, policy.c.created_at, policy.c.created_by)
    .where(policy.c.project_id == suite.c.project_id)
    .order_by(policy.c.version.desc())
    .limit(1)
    .lateral("newest")
)
_CURRENT = Fixed(
    select(
        suite.c.frozen_weights.label("shares"),
        suite.c.weights_final.label("are_final"),
        suite.c.weights_evaluation_id.label("evaluation_id"),
        suite.c.weights_version,
        project.c.key,
        _newest,
    )
    .select_from(suite.join(project, project.c.id == suite.c.project_id).join(_newest, true()))
    .where(suite.c.project_id == bindparam("project_id"), suite.c.id == bindparam("suite_id"))
)
