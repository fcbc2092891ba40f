"""Merging small blocks of a stream into large ones, beside those who read and write.

Blocks are only ever added and taken away: whoever reads sees either the small ones or the large one that took their
place, and whoever writes adds others and never touches these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.db import locks
from app.db.arrays import columns_cursor
from app.db.points import BlockPlace, insert_columns_of
from app.db.streams import connection_of
from app.db.summaries import steps_of
from app.db.tables import metric_chunk, record_block, stream

# Blocks from this size on stay as they are.
LARGE_RECORDS = 4096
MOST_RECORDS = 65_536
# Chunks that one transaction reads at most.
_MOST_CHUNKS = 50_000
_MOST_BLOCKS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompacted:
    """A stream with records that were not looked through.

    Args:
        until: Records below may be merged; what comes after is still being written.
    """

    project_id: UUID
    run_id: UUID
    stream_id: UUID
    attempt: int
    until: int


def uncompacted(session: Session, *, idle_since: datetime, grown_by: int, limit: int) -> list[Uncompacted]:
    """Streams that fell silent, or have grown by so many records, since they were looked through."""
    columns = stream.c
    query = (
        select(columns.project_id, columns.run_id, columns.id, columns.attempt, columns.next_idx)
        .where(
            columns.next_idx > columns.compacted_to,
            or_(columns.last_seen_at < idle_since, columns.next_idx - columns.compacted_to >= grown_by),
        )
        .order_by(columns.last_seen_at, columns.id)
        .limit(limit)
    )
    return [
        Uncompacted(
            project_id=row.project_id,
            run_id=row.run_id,
            stream_id=row.id,
            attempt=row.attempt,
            until=row.next_idx,
        )
        for row in session.execute(query)
    ]


def note_compacted(session: Session, what: Uncompacted) -> None:
    session.execute(
        update(stream)
        .where(
            stream.c.project_id == what.project_id,
            stream.c.run_id == what.run_id,
            stream.c.id == what.stream_id,
        )
        .values(compacted_to=func.greatest(stream.c.compacted_to, what.until))
    )


@dataclass(frozen=True, slots=True)
class _Small:
    """A small block with its columns, by series."""

    id: int
    first_idx: int
    last_idx: int
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    columns: dict[int, NDArray[np.float64]]


def merge_some(session: Session, what: Uncompacted) -> int | None:
    """Merge some small blocks; returns how many went, 0 when there is nothing to merge.

    None while another worker is at the same stream, who may not have seen its newest blocks.
    """
    if not locks.try_own(session, locks.key_of("compaction", what.project_id, what.stream_id)):
        return None
    gone = 0
    for small in _alike(_small_blocks(session, what)):
        _replace(session, what, small)
        gone += len(small)
    return gone


_BLOCKS = """
SELECT id, first_idx, last_idx, step_start, step_stride, steps, times
FROM record_block
WHERE project_id = %s AND run_id = %s AND stream_id = %s AND last_idx < %s AND count < %s
ORDER BY first_idx, id LIMIT %s
"""
_CHUNKS = """
SELECT c.block_id, c.series_id, c."values"
FROM unnest(%s::int8[]) AS w(id)
JOIN metric_chunk c ON c.project_id = %s AND c.run_id = %s AND c.series_id = ANY(%s) AND c.block_id = w.id
"""
_SERIES = "SELECT id FROM metric_series WHERE project_id = %s AND run_id = %s AND rank = %s"


def _small_blocks(session: Session, what: Uncompacted) -> list[_Small]:
    cursor = columns_cursor(connection_of(session))
    rank = cursor.execute(
        "SELECT rank FROM stream WHERE project_id = %s AND run_id = %s AND id = %s",
        (what.project_id, what.run_id, what.stream_id),
    ).fetchone()
    if rank is None:
        return []
    series = [row[0] for row in cursor.execute(_SERIES, (what.project_id, what.run_id, rank[0]))]
    most = max(2, min(_MOST_BLOCKS, _MOST_CHUNKS // max(1, len(series))))
    wanted = (what.project_id, what.run_id, what.stream_id, what.until, LARGE_RECORDS, most)
    rows = cursor.execute(_BLOCKS, wanted).fetchall()
    columns: dict[int, dict[int, NDArray[np.float64]]] = {row[0]: {} for row in rows}
    found = cursor.execute(_CHUNKS, (list(columns), what.project_id, what.run_id, series))
    for block_id, series_id, values in found:
        columns[block_id][series_id] = values
    return [
        _Small(
            block_id,
            first,
            last,
            steps_of(start, stride, listed, len(times)),
            times,
            columns[block_id],
        )
        for block_id, first, last, start, stride, listed, times in rows
    ]


def _alike(blocks: Sequence[_Small]) -> list[list[_Small]]:
    """Blocks of the same series, in parts that are not too large; only where there is something to merge."""
    by_series: dict[tuple[int, ...], list[list[_Small]]] = {}
    for block in blocks:
        parts = by_series.setdefault(tuple(sorted(block.columns)), [[]])
        held = sum(len(each.steps) for each in parts[-1])
        if parts[-1] and held + len(block.steps) > MOST_RECORDS:
            parts.append([])
        parts[-1].append(block)
    return [part for parts in by_series.values() for part in parts if len(part) > 1]


def _replace(session: Session, what: Uncompacted, small: Sequence[_Small]) -> None:
    series = np.array(sorted(small[0].columns), dtype=np.int64)
    insert_columns_of(
        session,
        BlockPlace(
            project_id=what.project_id,
            run_id=what.run_id,
            stream_id=what.stream_id,
            attempt=what.attempt,
            first_idx=min(block.first_idx for block in small),
            last_idx=max(block.last_idx for block in small),
        ),
        steps=np.concatenate([block.steps for block in small]),
        times=np.concatenate([block.times for block in small]),
        ids=series,
        columns=[np.concatenate([block.columns[one] for block in small]) for one in series.tolist()],
    )
    ids = [block.id for block in small]
    session.execute(
        delete(metric_chunk).where(
            metric_chunk.c.project_id == what.project_id,
            metric_chunk.c.run_id == what.run_id,
            metric_chunk.c.series_id.in_(series.tolist()),
            metric_chunk.c.block_id.in_(ids),
        )
    )
    session.execute(
        delete(record_block).where(
            record_block.c.project_id == what.project_id,
            record_block.c.run_id == what.run_id,
            record_block.c.id.in_(ids),
        )
    )
