"""What is read to set several runs beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.db import stale
from app.db.runs import RunRow
from app.db.tables import assessment, baseline, evaluation, evaluation_value, leaderboard_row, run, suite
from app.domain.evaluations import Bound, Purpose, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideRow:
    """The evaluation by which a run stands beside others on one suite and stage.

    Args:
        gate, validity: As stored; whether run or evaluation is invalid is laid over by the reader.
        champion: The evaluation that is champion of the suite and stage, if there is one.
        aggregates: As the newest assessment stored them.
    """

    evaluation_id: UUID
    run_id: UUID
    suite_id: UUID
    suite: str
    suite_version: int
    stage: str
    attempt: int
    step: int | None
    is_latest: bool
    gate: str
    sentence: str
    validity: str
    validity_reason: str | None
    stale: bool
    weights_version: int
    champion: UUID | None
    champion_run: UUID | None
    baseline: UUID | None
    aggregates: Sequence[Mapping[str, Any]]
    created_at: datetime


def runs_named(
    session: Session, *, project_id: UUID, keys: Iterable[str], ids: Iterable[UUID]
) -> list[RunRow]:
    """The project's runs of those keys or ids."""
    query = select(run).where(
        run.c.project_id == project_id, or_(run.c.key.in_(sorted(set(keys))), run.c.id.in_(sorted(set(ids))))
    )
    return [RunRow(**row) for row in session.execute(query.order_by(run.c.id)).mappings()]


def evaluations_beside(
    session: Session, *, project_id: UUID, run_ids: Iterable[UUID], suite_key: str | None, stage: str | None
) -> list[BesideRow]:
    """Each run's latest candidate on each suite and stage; where all are invalid, the last of those."""
    candidate, champion = evaluation.alias("candidate"), evaluation.alias("champion")
    chosen = (
        select(candidate.c.id)
        .where(
            candidate.c.project_id == project_id,
            candidate.c.run_id.in_(sorted(run_ids)),
            candidate.c.purpose == Purpose.CANDIDATE.value,
        )
        .ext(distinct_on(candidate.c.run_id, candidate.c.suite_id, candidate.c.stage))
        .order_by(
            candidate.c.run_id,
            candidate.c.suite_id,
            candidate.c.stage,
            candidate.c.is_latest.desc(),
            candidate.c.attempt.desc(),
            func.coalesce(candidate.c.step, -1).desc(),
            candidate.c.id.desc(),
        )
    )
    source = (
        stale.joined(evaluation)
        .join(
            assessment,
            (assessment.c.project_id == evaluation.c.project_id)
            & (assessment.c.evaluation_id == evaluation.c.id)
            & (assessment.c.number == evaluation.c.assessment),
        )
        .outerjoin(
            champion,
            (champion.c.project_id == baseline.c.project_id) & (champion.c.id == baseline.c.evaluation_id),
        )
    )
    query = (
        select(
            evaluation.c.id.label("evaluation_id"),
            evaluation.c.run_id,
            evaluation.c.suite_id,
            suite.c.key.label("suite"),
            evaluation.c.suite_version,
            evaluation.c.stage,
            evaluation.c.attempt,
            evaluation.c.step,
            evaluation.c.is_latest,
            evaluation.c.gate,
            assessment.c.sentence,
            evaluation.c.validity,
            evaluation.c.validity_reason,
            stale.is_stale().label("stale"),
            evaluation.c.weights_version,
            baseline.c.evaluation_id.label("champion"),
            champion.c.run_id.label("champion_run"),
            assessment.c.baseline_evaluation_id.label("baseline"),
            assessment.c.aggregates,
            evaluation.c.created_at,
        )
        .select_from(source)
        .where(evaluation.c.project_id == project_id, evaluation.c.id.in_(chosen.scalar_subquery()))
        .order_by(suite.c.key.collate("C"), evaluation.c.stage.collate("C"), evaluation.c.run_id)
    )
    if suite_key is not None:
        query = query.where(suite.c.key == suite_key)
    if stage is not None:
        query = query.where(evaluation.c.stage == stage)
    return [BesideRow(**row) for row in session.execute(query).mappings()]


def cells_of(
    session: Session, *, project_id: UUID, evaluation_ids: Iterable[UUID], metric: str | None, limit: int
) -> dict[UUID, dict[tuple[str, str], Value]] | None:
    """Every number of the evaluations by metric and group: as posted, and the aggregates stored beside them.

    Returns:
        None when there are more than `limit`.
    """
    ids = sorted(set(evaluation_ids))
    found: dict[UUID, dict[tuple[str, str], Value]] = {one: {} for one in ids}
    posted, ranked = evaluation_value.c, leaderboard_row.c
    of_posted = select(
        posted.evaluation_id,
        posted.metric,
        posted.group_name,
        posted.value,
        posted.n,
        posted.bound,
        posted.stderr,
    ).where(posted.project_id == project_id, posted.evaluation_id.in_(ids))
    of_ranked = select(
        ranked.evaluation_id, ranked.metric, ranked.group_name, ranked.value, ranked.n, ranked.bound
    ).where(ranked.project_id == project_id, ranked.evaluation_id.in_(ids))
    if metric is not None:
        of_posted = of_posted.where(posted.metric == metric)
        of_ranked = of_ranked.where(ranked.metric == metric)
    read = 0
    # The ranked ones last: what the server pooled stands over an overall that the run measured itself.
    for query in (of_posted, of_ranked):
        for row in session.execute(query.limit(limit + 1)).mappings():
            read += 1
            value = Value(
                metric=row["metric"],
                group=row["group_name"],
                value=row["value"],
                n=row["n"],
                stderr=row.get("stderr"),
                bound=Bound(row["bound"]),
            )
            there = found[row["evaluation_id"]]
            known = there.get((value.metric, value.group))
            if known is None or (known.value, known.bound) != (value.value, value.bound):
                there[value.metric, value.group] = value
        if read > limit:
            return None
    return found
