"""The weights that a suite without weights of its own has frozen (RULES.md, *Aggregates*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, case, or_, select, update
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.tables import suite


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenWeights:
    """n shares by group.

    Args:
        shares: None before the first evaluation; {} when its every n was unknown.
        are_final: Whether they are the first champion's.
        evaluation_id: Whose shares they are.
        version: Moves by one with every change of the shares.
    """

    shares: Mapping[str, float] | None
    are_final: bool
    evaluation_id: UUID | None
    version: int

    def would_yield_to(self, evaluation_id: UUID) -> bool:
        """Whether an evaluation of that id is the suite's first; ids are drawn in the order of time."""
        return not self.are_final and (self.evaluation_id is None or evaluation_id < self.evaluation_id)


_CURRENT = Fixed(
    select(
        suite.c.frozen_weights.label("shares"),
        suite.c.weights_final.label("are_final"),
        suite.c.weights_evaluation_id.label("evaluation_id"),
        suite.c.weights_version.label("version"),
    ).where(suite.c.project_id == bindparam("project_id"), suite.c.id == bindparam("suite_id"))
)


def current(session: Session, *, project_id: UUID, suite_id: UUID) -> FrozenWeights:
    """What is frozen now.

    Raises:
        LookupError: There is no such suite.
    """
    found = _CURRENT.first(session, project_id=project_id, suite_id=suite_id)
    if found is None:
        raise LookupError(f"no suite {suite_id}")
    return FrozenWeights(**found)


def freeze_first(
    session: Session, *, project_id: UUID, suite_id: UUID, shares: Mapping[str, float], evaluation_id: UUID
) -> FrozenWeights:
    """Freeze the shares of an evaluation that is the suite's first; who else posts the first one is waited for.

    Returns:
        What is frozen now: these shares, or those of an evaluation that came before after all.
    """
    is_first = or_(suite.c.weights_evaluation_id.is_(None), suite.c.weights_evaluation_id > evaluation_id)
    _freeze(
        session, project_id, suite_id, shares, evaluation_id, ~suite.c.weights_final & is_first, final=False
    )
    return current(session, project_id=project_id, suite_id=suite_id)


def freeze_for_good(
    session: Session, *, project_id: UUID, suite_id: UUID, shares: Mapping[str, float], evaluation_id: UUID
) -> FrozenWeights:
    """Freeze the shares of the first champion, unless some are final already."""
    _freeze(session, project_id, suite_id, shares, evaluation_id, ~suite.c.weights_final, final=True)
    return current(session, project_id=project_id, suite_id=suite_id)


def _freeze(
    session: Session,
    project_id: UUID,
    suite_id: UUID,
    shares: Mapping[str, float],
    evaluation_id: UUID,
    condition: ColumnElement[bool],
    *,
    final: bool,
) -> None:
    session.execute(
        update(suite)
        .where(suite.c.project_id == project_id, suite.c.id == suite_id, condition)
        .values(
            frozen_weights=dict(shares),
            weights_final=final,
            weights_evaluation_id=evaluation_id,
            weights_version=suite.c.weights_version
            + case((suite.c.frozen_weights.is_not_distinct_from(dict(shares)), 0), else_=1),
        )
    )
