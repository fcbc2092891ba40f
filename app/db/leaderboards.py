"""Leaderboard rows: every cell of every candidate evaluation, in the order in which boards are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Text,
    and_,
    cast,
    delete,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.db import board_details, bulk
from app.db.evaluations import effective_validity
from app.db.tables import evaluation, leaderboard_row, run
from app.domain.evaluations import Validity
from app.domain.record import aggregate_from_document


class Rows(StrEnum):
    """One row for each run (its latest valid candidate) or for each candidate evaluation."""

    RUNS = "runs"
    EVALUATIONS = "evaluations"


class BoardCell(NamedTuple):
    """One number to rank.

    Args:
        cell: Digest of what the number means.
        sort_class, sort_key: As `domain.ranking.sort_position` gives them.
    """

    metric: str
    group: str
    cell: bytes
    value: float
    bound: str
    n: int | None
    sort_class: int
    sort_key: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardItem:
    """One row of a board.

    Args:
        rank: From 1 among the eligible rows; None for a row that is not eligible.
        worst: The group that worsened most against the champion, and by how much (None: beyond any ratio).
        gate: Of the newest verdict, closed when run or evaluation is invalid.
        reason: Why the row is not eligible, or why it is suspect; None otherwise.
        after: What the next page is asked for with.
    """

    rank: int | None
    run_id: UUID
    run_key: str
    name: str
    tags: list[str]
    evaluation_id: UUID
    value: float
    bound: str
    n: int | None
    worst: tuple[str, float | None] | None
    gate: str
    stale: bool
    eligible: bool
    validity: str
    reason: str | None
    created_at: datetime
    after: tuple[int, int, float, UUID]


def board_rows(
    *,
    project_id: UUID,
    suite_id: UUID,
    suite_version: int,
    stage: str,
    evaluation_id: UUID,
    run_id: UUID,
    recipe: bytes,
    is_latest: bool,
    eligible: bool,
    cells: Sequence[BoardCell],
) -> bulk.Rows:
    """The cells of an evaluation, to be inserted after it."""
    return bulk.rows_of(
        leaderboard_row,
        same={
            "project_id": project_id,
            "suite_id": suite_id,
            "suite_version": suite_version,
            "stage": stage,
            "evaluation_id": evaluation_id,
            "run_id": run_id,
            "recipe": recipe,
            "is_latest": is_latest,
            "eligible": eligible,
        },
        columns={
            "metric": [cell.metric for cell in cells],
            "group_name": [cell.group for cell in cells],
            "cell": [cell.cell for cell in cells],
            "value": [cell.value for cell in cells],
            "bound": [cell.bound for cell in cells],
            "n": [cell.n for cell in cells],
            "sort_class": [cell.sort_class for cell in cells],
            "sort_key": [cell.sort_key for cell in cells],
        },
    )


def delete_rows(session: Session, *, project_id: UUID, evaluation_id: UUID) -> None:
    session.execute(
        delete(leaderboard_row).where(
            leaderboard_row.c.project_id == project_id, leaderboard_row.c.evaluation_id == evaluation_id
        )
    )


def follow_run(session: Session, *, project_id: UUID, run_id: UUID) -> None:
    """Let the run's rows say what run and evaluations say: latest or not, eligible or not. The run is locked."""
    eligible = and_(
        evaluation.c.validity != Validity.INVALID.value,
        run.c.validity != Validity.INVALID.value,
        run.c.archived_at.is_(None),
    )
    rows = leaderboard_row.c
    session.execute(
        update(leaderboard_row)
        .where(
            rows.project_id == project_id,
            # By way of the evaluations, which are indexed by run; these rows have indexes enough.
            evaluation.c.project_id == rows.project_id,
            evaluation.c.id == rows.evaluation_id,
            evaluation.c.run_id == run_id,
            run.c.project_id == evaluation.c.project_id,
            run.c.id == evaluation.c.run_id,
            or_(rows.is_latest != evaluation.c.is_latest, rows.eligible != eligible),
        )
        .values(is_latest=evaluation.c.is_latest, eligible=eligible)
    )


def page(
    session: Session,
    *,
    project_id: UUID,
    suite_id: UUID,
    stage: str,
    cell: bytes,
    rows: Rows,
    ineligible: bool,
    limit: int,
    after: tuple[int, int, float, UUID] | None = None,
    tags: Sequence[str] = (),
) -> list[BoardItem]:
    """One page of a board, best first, bounds behind exact values, what is not finite last.

    Args:
        cell: Which number, across the suite versions in which it means the same.
        ineligible: Show rows that do not count too, with the reason.
        after: `after` of the last item of the page before.
        tags: Only runs that have all of these.
    """
    here: tuple[ColumnElement[bool], ...] = (
        leaderboard_row.c.project_id == project_id,
        leaderboard_row.c.suite_id == suite_id,
        leaderboard_row.c.stage == stage,
        leaderboard_row.c.cell == cell,
    )
    if after is not None:
        here += (tuple_(*_ORDER) > tuple_(*(literal(part) for part in after[1:])),)
    parts = [_counting(here, tags, limit, latest=True)]
    if rows is Rows.EVALUATIONS:
        parts.append(_counting(here, tags, limit, latest=False))
    if ineligible:
        parts.append(_left_out(here, rows, tags, limit))
    places = _merged(parts)
    found = session.execute(places.limit(limit)).mappings().all()
    if not found:
        return []
    details = board_details.of_evaluations(
        session,
        project_id=project_id,
        metric=found[0]["metric"],
        evaluation_ids=[row["evaluation_id"] for row in found],
    )
    ranked = 0 if after is None else after[0]
    items = []
    for row in found:
        # An evaluation that was purged since the statement before is not there any more.
        if detail := details.get(row["evaluation_id"]):
            ranked += row["eligible"]
            items.append(_item(row, detail, ranked))
    return items


# Two statements on purpose: this one walks the index and stops, whatever the planner thinks of the joins, and the
# other, whose planning took five times as long as the whole page, begins at known ids.
_ORDER = (leaderboard_row.c.sort_class, leaderboard_row.c.sort_key, leaderboard_row.c.evaluation_id)
_PLACE = (
    leaderboard_row.c.metric,
    leaderboard_row.c.evaluation_id,
    leaderboard_row.c.run_id,
    leaderboard_row.c.value,
    leaderboard_row.c.bound,
    leaderboard_row.c.n,
    leaderboard_row.c.sort_class,
    leaderboard_row.c.sort_key,
    leaderboard_row.c.eligible,
)


def of_evaluation() -> ColumnElement[bool]:
    """Joins the `evaluation` of a leaderboard row; suite and stage make its index by run of use."""
    return and_(
        evaluation.c.project_id == leaderboard_row.c.project_id,
        evaluation.c.id == leaderboard_row.c.evaluation_id,
        evaluation.c.suite_id == leaderboard_row.c.suite_id,
        evaluation.c.stage == leaderboard_row.c.stage,
    )


def of_run() -> ColumnElement[bool]:
    """Joins the `run` of a leaderboard row."""
    return and_(
        run.c.project_id == leaderboard_row.c.project_id,
        run.c.id == leaderboard_row.c.run_id,
    )


def _merged(parts: Sequence[Select[Any]]) -> Select[Any]:
    """All of their rows in the order of each, which has an index of its own."""
    if len(parts) == 1:
        return parts[0]
    all_of_them = union_all(*(part.subquery().select() for part in parts)).subquery()
    return select(all_of_them).order_by(
        all_of_them.c.sort_class, all_of_them.c.sort_key, all_of_them.c.evaluation_id
    )


def _counting(
    here: tuple[ColumnElement[bool], ...], tags: Sequence[str], limit: int, *, latest: bool
) -> Select[Any]:
    is_latest = leaderboard_row.c.is_latest
    query = select(*_PLACE).where(*here, leaderboard_row.c.eligible, is_latest if latest else ~is_latest)
    if tags:
        # By way of the evaluation, which is indexed by run: a tag that few runs have is sought from the runs.
        query = query.join(evaluation, of_evaluation()).join(
            run, and_(run.c.project_id == evaluation.c.project_id, run.c.id == evaluation.c.run_id)
        )
        query = query.where(has_tags(tags))
        if latest:
            query = query.where(evaluation.c.is_latest)
    return query.order_by(*_ORDER).limit(limit)


def _left_out(
    here: tuple[ColumnElement[bool], ...], rows: Rows, tags: Sequence[str], limit: int
) -> Select[Any]:
    """The rows that do not count, for which there is an index of their own."""
    query = select(*_PLACE).where(*here, ~leaderboard_row.c.eligible)
    if rows is Rows.RUNS:
        # An invalid evaluation is never its run's latest; here it is asked for.
        query = query.join(evaluation, of_evaluation()).where(
            or_(leaderboard_row.c.is_latest, evaluation.c.validity == Validity.INVALID.value)
        )
    if tags:
        query = query.join(run, of_run()).where(has_tags(tags))
    return query.order_by(*_ORDER).limit(limit)


def has_tags(tags: Sequence[str]) -> ColumnElement[bool]:
    """Whether a `run` has all of these."""
    return run.c.tags.contains(cast(list(tags), ARRAY(Text)))


def _item(row: RowMapping, detail: RowMapping, ranked: int) -> BoardItem:
    validity, reason = effective_validity(
        (detail["run_validity"], detail["run_validity_reason"]),
        (detail["validity"], detail["validity_reason"]),
    )
    if detail["archived_at"] is not None and validity != Validity.INVALID.value:
        reason = "the run is archived"
    worst = None if detail["worst"] is None else aggregate_from_document(detail["worst"])
    return BoardItem(
        rank=ranked if row["eligible"] else None,
        run_id=row["run_id"],
        run_key=detail["run_key"],
        name=detail["name"],
        tags=detail["tags"],
        evaluation_id=row["evaluation_id"],
        value=row["value"],
        bound=row["bound"],
        n=row["n"],
        worst=None if worst is None or worst.group is None else (worst.group, worst.worsening),
        gate=detail["gate"],
        stale=detail["stale"],
        eligible=row["eligible"],
        validity=validity,
        reason=reason,
        created_at=detail["created_at"],
        after=(ranked, row["sort_class"], row["sort_key"], row["evaluation_id"]),
    )
