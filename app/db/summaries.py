"""Running summaries of series, kept as points arrive, so that no list ever looks through a history."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.db.arrays import Doubles, Wholes, columns_cursor
from app.db.streams import connection_of
from app.db.tables import attempt, metric_summary
from app.domain.history import Block, Summaries, cuts, summarise

_ADD = """
INSERT INTO metric_summary AS m (project_id, run_id, attempt, series_id, count, non_finite, first_step, first_value,
                                 last_step, last_value, min_step, min_value, max_step, max_value)
SELECT %s, %s, %s, w.id, %s, w.non_finite, %s, w.first_value, %s, w.last_value,
       CASE WHEN w.min_value <> 'NaN' THEN w.min_step END, nullif(w.min_value, 'NaN'),
       CASE WHEN w.max_value <> 'NaN' THEN w.max_step END, nullif(w.max_value, 'NaN')
FROM unnest(%s::int8[], %s::int8[], %s::float8[], %s::float8[], %s::int8[], %s::float8[], %s::int8[], %s::float8[])
     AS w(id, non_finite, first_value, last_value, min_step, min_value, max_step, max_value)
ORDER BY w.id
ON CONFLICT (project_id, run_id, attempt, series_id) DO UPDATE SET
    count = m.count + excluded.count,
    non_finite = m.non_finite + excluded.non_finite,
    first_value = CASE WHEN excluded.first_step <= m.first_step THEN excluded.first_value ELSE m.first_value END,
    first_step = least(m.first_step, excluded.first_step),
    last_value = CASE WHEN excluded.last_step >= m.last_step THEN excluded.last_value ELSE m.last_value END,
    last_step = greatest(m.last_step, excluded.last_step),
    min_step = CASE WHEN excluded.min_value < m.min_value OR m.min_value IS NULL
               THEN coalesce(excluded.min_step, m.min_step) ELSE m.min_step END,
    min_value = least(m.min_value, excluded.min_value),
    max_step = CASE WHEN excluded.max_value > m.max_value OR m.max_value IS NULL
               THEN coalesce(excluded.max_step, m.max_step) ELSE m.max_step END,
    max_value = greatest(m.max_value, excluded.max_value)
"""


def add(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    number: int,
    ids: NDArray[np.int64],
    block: Block,
    cut: int | None,
) -> None:
    """Take the points of a block into the summaries of that attempt.

    Args:
        ids: The block's series.
        cut: Points from this step on belong to a branch that a later attempt left; None where there is none.
    """
    steps, values = block.steps, block.values
    if cut is not None:
        before = steps < cut
        if not before.any():
            return
        steps, values = steps[before], values[:, before]
    _write(session, project_id, run_id, number, ids, summarise(steps, values))


def cut_of(session: Session, *, project_id: UUID, run_id: UUID, number: int) -> int | None:
    """The step from which on points of the attempt do not count."""
    query = (
        select(attempt.c.number, attempt.c.resume_step, attempt.c.first_step)
        .where(attempt.c.project_id == project_id, attempt.c.run_id == run_id)
        .order_by(attempt.c.number)
    )
    began = [
        (row.number, row.first_step if row.resume_step is None else row.resume_step)
        for row in session.execute(query)
    ]
    return cuts(began).get(number)


def note_first_step(session: Session, *, project_id: UUID, run_id: UUID, number: int, step: int) -> None:
    session.execute(
        update(attempt)
        .where(attempt.c.project_id == project_id, attempt.c.run_id == run_id, attempt.c.number == number)
        .values(first_step=step)
    )


def cut_before(session: Session, *, project_id: UUID, run_id: UUID, number: int, step: int) -> int:
    """Let the attempts before `number` count only up to `step`, at which it began; returns how many series changed.

    Their points are read again; this happens once an attempt.
    """
    columns = metric_summary.c
    query = (
        select(columns.attempt, columns.series_id, columns.first_step)
        .where(
            columns.project_id == project_id,
            columns.run_id == run_id,
            columns.attempt < number,
            columns.last_step >= step,
        )
        .order_by(columns.attempt, columns.series_id)
        .with_for_update()
    )
    affected = session.execute(query).all()
    for older, series_id, first_step in affected:
        found = None
        if first_step < step:
            steps, values = _points_before(session, project_id, run_id, older, series_id, step)
            if not len(steps):
                # Its points have outlived their project's retention; what is known of them stays.
                continue
            found = summarise(steps, values[np.newaxis, :])
        session.execute(
            delete(metric_summary).where(
                columns.project_id == project_id,
                columns.run_id == run_id,
                columns.attempt == older,
                columns.series_id == series_id,
            )
        )
        if found is not None:
            _write(session, project_id, run_id, older, np.array([series_id], dtype=np.int64), found)
    return len(affected)


_POINTS = """
SELECT b.step_start, b.step_stride, b.steps, c."values"
FROM record_block b
JOIN metric_chunk c ON c.project_id = b.project_id AND c.run_id = b.run_id AND c.block_id = b.id
WHERE c.project_id = %s AND c.run_id = %s AND c.series_id = %s AND b.attempt = %s AND b.min_step < %s
ORDER BY b.first_idx, b.id
"""


def _points_before(
    session: Session, project_id: UUID, run_id: UUID, number: int, series_id: int, step: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    cursor = columns_cursor(connection_of(session))
    parts = cursor.execute(_POINTS, (project_id, run_id, series_id, number, step)).fetchall()
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    steps = np.concatenate(
        [steps_of(start, stride, listed, len(values)) for start, stride, listed, values in parts]
    )
    values = np.concatenate([values for *_, values in parts])
    before = steps < step
    return steps[before], values[before]


def steps_of(
    start: int | None, stride: int | None, listed: NDArray[np.int64] | None, count: int
) -> NDArray[np.int64]:
    """A block's steps, however they are stored."""
    if listed is not None:
        return listed
    if start is None or stride is None:
        raise ValueError("a block has neither listed nor regular steps")
    return start + stride * np.arange(count, dtype=np.int64)


def _write(
    session: Session,
    project_id: UUID,
    run_id: UUID,
    number: int,
    ids: NDArray[np.int64],
    found: Summaries,
) -> None:
    connection_of(session).execute(
        _ADD,
        (
            *(project_id, run_id, number, found.count, found.first_step, found.last_step),
            *(Wholes(ids), Wholes(found.non_finite), Doubles(found.first_value), Doubles(found.last_value)),
            *(Wholes(found.min_step), Doubles(found.min_value)),
            *(Wholes(found.max_step), Doubles(found.max_value)),
        ),
    )
