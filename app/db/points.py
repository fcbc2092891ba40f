"""Points of a run's history: blocks of columns, and the series that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.arrays import Doubles, Wholes, copied_rows
from app.db.remembered import Remembered
from app.db.streams import StreamRow, connection_of
from app.db.tables import metric_series
from app.domain.history import Block, Series

# Of a training loop's key sets, by run; a series takes some 200 bytes. Only ids that were found in the database, never
# such as this transaction has made and may take back.
_known: Remembered[tuple[UUID, UUID, tuple[Series, ...]], NDArray[np.int64]] = Remembered(
    most=100_000, size=len
)

_FIND = """
SELECT w.i, m.id
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) WITH ORDINALITY
     AS w(name, group_name, stage, split, rank, i)
LEFT JOIN metric_series m ON m.project_id = %s AND m.run_id = %s AND m.name = w.name
     AND m.group_name = w.group_name AND m.stage = w.stage AND m.split = w.split AND m.rank = w.rank
"""

# Sorted, so that several writers who make the same ones wait for each other instead of for ever.
_MAKE = """
INSERT INTO metric_series (project_id, run_id, name, group_name, stage, split, rank)
SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) AS w(a, b, c, d, e)
ORDER BY a COLLATE "C", b COLLATE "C", c COLLATE "C", d COLLATE "C", e
ON CONFLICT DO NOTHING
"""


def known_series(
    session: Session, *, project_id: UUID, run_id: UUID, series: tuple[Series, ...]
) -> NDArray[np.int64] | None:
    """Their ids, if the run has all of them."""
    ids = _known.get((project_id, run_id, series))
    if ids is None:
        found = _find(session, project_id, run_id, series)
        if (found < 0).any():
            return None
        ids = found
        _known.put((project_id, run_id, series), ids)
    return ids


def make_series(
    session: Session, *, project_id: UUID, run_id: UUID, series: tuple[Series, ...]
) -> NDArray[np.int64]:
    """Their ids; those that the run does not have yet are made."""
    connection_of(session).execute(_MAKE, (project_id, run_id, *_columns(series)))
    return _find(session, project_id, run_id, series)


def count_series(session: Session, *, project_id: UUID, run_id: UUID) -> tuple[int, int]:
    """How many metric names and how many series the run has."""
    query = select(func.count(metric_series.c.name.distinct()), func.count()).where(
        metric_series.c.project_id == project_id, metric_series.c.run_id == run_id
    )
    names, series = session.execute(query).one()
    return names, series


def names_of(session: Session, *, project_id: UUID, run_id: UUID, names: Sequence[str]) -> set[str]:
    """Which of the names the run has already."""
    query = (
        select(metric_series.c.name)
        .distinct()
        .where(
            metric_series.c.project_id == project_id,
            metric_series.c.run_id == run_id,
            metric_series.c.name.in_(sorted(set(names))),
        )
    )
    return set(session.execute(query).scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlace:
    """Where a block belongs, and between which records its own lie."""

    project_id: UUID
    run_id: UUID
    stream_id: UUID
    attempt: int
    first_idx: int
    last_idx: int


def insert_block(session: Session, row: StreamRow, block: Block, ids: NDArray[np.int64]) -> None:
    """Store a block of the locked stream; `ids` are its series', in their order."""
    place = BlockPlace(
        project_id=row.project_id,
        run_id=row.run_id,
        stream_id=row.id,
        attempt=row.attempt,
        first_idx=int(block.idx[0]),
        last_idx=int(block.idx[-1]),
    )
    insert_columns_of(
        session, place, steps=block.steps, times=block.times, ids=ids, columns=list(block.values)
    )


def insert_columns_of(
    session: Session,
    place: BlockPlace,
    *,
    steps: NDArray[np.int64],
    times: NDArray[np.float64],
    ids: NDArray[np.int64],
    columns: Sequence[NDArray[np.float64]],
) -> None:
    """Store a block: one row, and one for each series.

    Args:
        steps, times: Shape (n,).
        columns: One for each of `ids`, each of shape (n,).
    """
    start: int | None = int(steps[0])
    stride: int | None = int(steps[1] - steps[0]) if len(steps) > 1 else 0
    listed = None
    if len(steps) > 2 and not (np.diff(steps) == stride).all():
        start = stride = None
        listed = Wholes(steps)
    connection = connection_of(session)
    block = (
        *(place.project_id, place.run_id, place.stream_id, place.attempt),
        *(place.first_idx, place.last_idx, len(steps)),
        *(start, stride, listed, Doubles(times), int(steps.min()), int(steps.max())),
    )
    if len(columns) <= _MOST_IN_ONE_STATEMENT:
        numbers = (Doubles(column) for column in columns)
        connection.execute(_insert_all(len(columns)), (*block, Wholes(ids), *numbers))
        return
    row = connection.execute(f"{_INSERT_BLOCK} RETURNING id", block).fetchone()
    if row is None:
        raise LookupError("a block was inserted and has no id")
    with connection.cursor().copy(_COPY_CHUNKS) as copy:
        copy.write(
            copied_rows((place.project_id.bytes, place.run_id.bytes), ids.tolist(), int(row[0]), columns)
        )


_INSERT_BLOCK = """
INSERT INTO record_block (project_id, run_id, stream_id, attempt, first_idx, last_idx, count, step_start, step_stride,
                          steps, times, min_step, max_step)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
# Ready bytes: of thousands of rows a statement would be long to write and to read.
_COPY_CHUNKS = (
    'COPY metric_chunk (project_id, run_id, series_id, block_id, "values") FROM STDIN (FORMAT BINARY)'
)
# A training loop has a few dozen metrics; a block and its chunks then go in one statement, which is one wait for
# Postgres instead of the four of an INSERT and a COPY.
_MOST_IN_ONE_STATEMENT = 256


@lru_cache(maxsize=_MOST_IN_ONE_STATEMENT)
def _insert_all(series: int) -> str:
    """Takes a block's parameters, the ids of its series, and so many columns."""
    columns = ", ".join(f"({i + 1}, %s::float8[])" for i in range(series))
    return (
        f"WITH block AS ({_INSERT_BLOCK} RETURNING project_id, run_id, id) "  # noqa: S608  ours
        'INSERT INTO metric_chunk (project_id, run_id, series_id, block_id, "values") '
        'SELECT block.project_id, block.run_id, (%s::int8[])[w.i], block.id, w."values" '
        f'FROM block CROSS JOIN (VALUES {columns}) AS w(i, "values")'
    )


def _find(session: Session, project_id: UUID, run_id: UUID, series: tuple[Series, ...]) -> NDArray[np.int64]:
    """Ids in their order, -1 where there is none."""
    cursor = connection_of(session).execute(_FIND, (*_columns(series), project_id, run_id))
    ids = np.full(len(series), -1, dtype=np.int64)
    for i, found in cursor:
        if found is not None:
            ids[i - 1] = found
    return ids


def _columns(series: Sequence[Series]) -> tuple[list[str], list[str], list[str], list[str], list[int]]:
    return (
        [each.name for each in series],
        [each.group for each in series],
        [each.stage for each in series],
        [each.split for each in series],
        [each.rank for each in series],
    )
