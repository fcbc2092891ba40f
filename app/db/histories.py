"""Reading points back: of one series just before a record, of several for a chart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.db.arrays import Wholes, columns_cursor
from app.db.streams import connection_of
from app.db.summaries import steps_of

_BEFORE = """
SELECT c."values"
FROM record_block b
JOIN metric_chunk c ON c.project_id = b.project_id AND c.run_id = b.run_id AND c.block_id = b.id
WHERE c.project_id = %s AND c.run_id = %s AND c.series_id = %s AND b.stream_id = %s AND b.last_idx < %s
ORDER BY b.first_idx DESC, b.id DESC
"""

_HAD_MET = """
SELECT (%s::float8 IS NULL OR min_value <= %s) AND (%s::float8 IS NULL OR max_value >= %s)
FROM metric_summary WHERE project_id = %s AND run_id = %s AND attempt = %s AND series_id = %s
"""


def just_before(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    attempt: int,
    series_id: int,
    stream_id: UUID,
    before_idx: int,
    limit: int,
    low: float | None,
    high: float | None,
) -> tuple[NDArray[np.float64], bool]:
    """The newest `limit` points before a record, oldest first, and whether any point so far lay within low and high.

    The second is told from the summary: for a limit on both sides it is true when some point met each of them.
    """
    connection = connection_of(session)
    found: list[NDArray[np.float64]] = []
    if limit:
        cursor = columns_cursor(connection)
        held = 0
        for (values,) in cursor.execute(_BEFORE, (project_id, run_id, series_id, stream_id, before_idx)):
            found.insert(0, values)
            held += len(values)
            if held >= limit:
                break
    before = np.concatenate(found)[-limit:] if found else np.empty(0, dtype=np.float64)
    row = connection.execute(
        _HAD_MET, (high, high, low, low, project_id, run_id, attempt, series_id)
    ).fetchone()
    return before, bool(row is not None and row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A series' points of one block, in the order in which they were logged.

    Args:
        steps, times, values: Each of shape (n,).
    """

    series_id: int
    attempt: int
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


_SINCE = """
SELECT c.series_id, b.attempt, b.step_start, b.step_stride, b.steps, b.times, c."values", b.first_idx, b.last_idx, w.idx
FROM unnest(%s::uuid[], %s::int8[]) AS w(stream_id, idx)
JOIN record_block b ON b.project_id = %s AND b.run_id = %s AND b.stream_id = w.stream_id AND b.last_idx >= w.idx
JOIN metric_chunk c ON c.project_id = b.project_id AND c.run_id = b.run_id AND c.block_id = b.id
WHERE c.series_id = ANY(%s)
ORDER BY c.series_id, b.first_idx, b.id
"""


def pieces_since(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    series_ids: Sequence[int],
    since: Mapping[UUID, int],
) -> list[Piece]:
    """Points that came after these records of each stream, as far as their blocks tell them apart.

    Of a block whose records are not one after the other all are given, should it reach over the border.
    """
    cursor = columns_cursor(connection_of(session))
    wanted = (list(since), list(since.values()), project_id, run_id, list(series_ids))
    found = []
    for series_id, number, start, stride, listed, times, values, first, last, idx in cursor.execute(
        _SINCE, wanted
    ):
        steps = steps_of(start, stride, listed, len(values))
        known = max(0, idx - first) if last - first + 1 == len(values) else 0
        found.append(
            Piece(
                series_id=series_id,
                attempt=number,
                steps=steps[known:],
                times=times[known:],
                values=values[known:],
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A series' points of one block, in the order in which they were logged.

    Args:
        steps, values: Each of shape (n,).
        times: The same, or None where they were not read.
    """

    series_id: int
    attempt: int
    block_id: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64] | None


# In what blocks series have points near a range of steps.
_WANTED = """
FROM metric_chunk c
JOIN record_block b ON b.project_id = c.project_id AND b.run_id = c.run_id AND b.id = c.block_id
WHERE c.project_id = %s AND c.run_id = %s AND c.series_id = ANY(%s)
  AND b.max_step >= %s AND b.min_step <= %s AND (%s::int IS NULL OR b.attempt = %s)
ORDER BY c.series_id, b.attempt, b.first_idx, b.id
"""

_STORED = f"""
SELECT c.series_id, b.attempt, b.id, b.step_start, b.step_stride, b.steps, CASE WHEN %s THEN b.times END, c."values"
{_WANTED}"""


def stored(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    series_ids: Sequence[int],
    from_step: int,
    to_step: int,
    attempt: int | None,
    with_times: bool,
) -> list[Stored]:
    """Points of these series in blocks that touch [from_step, to_step], by series, attempt and record.

    Args:
        attempt: Only this one's; None for all.
        with_times: Times are as many bytes again as a series' values; few of them are read later by `times_at`.
    """
    cursor = columns_cursor(connection_of(session))
    wanted = (with_times, project_id, run_id, list(series_ids), from_step, to_step, attempt, attempt)
    return [
        Stored(
            series_id=series_id,
            attempt=number,
            block_id=block_id,
            steps=steps_of(start, stride, listed, len(values)),
            values=values,
            times=times,
        )
        for series_id, number, block_id, start, stride, listed, times, values in cursor.execute(
            _STORED, wanted
        )
    ]


class BlockGone(LookupError):
    """A block that was read a moment ago is there no more; the same points are in another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a series has of one block, without its values.

    Args:
        count: How many points, in the order in which they were logged.
        start, stride, listed: Their steps, regular or one by one, as the block holds them.
    """

    series_id: int
    attempt: int
    block_id: int
    count: int
    start: int | None
    stride: int | None
    listed: NDArray[np.int64] | None

    @property
    def steps(self) -> NDArray[np.int64]:
        """Shape (count,). Made each time: those of all blocks at once would be as large as the values."""
        return steps_of(self.start, self.stride, self.listed, self.count)


_OUTLINES = f"""
SELECT c.series_id, b.attempt, b.id, b.count, b.step_start, b.step_stride, b.steps
{_WANTED}"""


def outlines(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    series_ids: Sequence[int],
    from_step: int,
    to_step: int,
    attempt: int | None,
) -> list[Outline]:
    """What `stored` would find, in the same order, for `values_of` to read piece by piece."""
    cursor = columns_cursor(connection_of(session))
    wanted = (project_id, run_id, list(series_ids), from_step, to_step, attempt, attempt)
    return [
        Outline(
            series_id=series_id,
            attempt=number,
            block_id=block_id,
            count=count,
            start=start,
            stride=stride,
            listed=listed,
        )
        for series_id, number, block_id, count, start, stride, listed in cursor.execute(_OUTLINES, wanted)
    ]


_VALUES = """
SELECT c.series_id, c.block_id, c."values"
FROM unnest(%s::int8[], %s::int8[]) WITH ORDINALITY AS w(series_id, block_id, n)
JOIN metric_chunk c ON c.project_id = %s AND c.run_id = %s AND c.series_id = w.series_id AND c.block_id = w.block_id
ORDER BY w.n
"""


def values_of(
    session: Session, *, project_id: UUID, run_id: UUID, wanted: Sequence[Outline]
) -> Iterator[NDArray[np.float64]]:
    """The values of each, in their order, each of shape (its count,); one at a time is in memory.

    A million at once would be memory that the process asks of the system and gives back with every request, which
    takes as long as reading them; and while these are looked at, Postgres goes on with the next.

    Raises:
        BlockGone: A block has been merged with others since its outline was read.
    """
    if not wanted:
        return
    asked = (
        Wholes(np.array([each.series_id for each in wanted], dtype=np.int64)),
        Wholes(np.array([each.block_id for each in wanted], dtype=np.int64)),
        *(project_id, run_id),
    )
    rows = columns_cursor(connection_of(session)).stream(_VALUES, asked, binary=True)
    for each in wanted:
        found = next(rows, None)
        if found is None or found[:2] != (each.series_id, each.block_id):
            # To the end, before the connection takes another statement.
            deque(rows, maxlen=0)
            raise BlockGone
        yield found[2]
    deque(rows, maxlen=0)


# Appending nothing unpacks a block's times once; a place in the column itself would unpack all of it again each time.
_TIMES = """
SELECT w.n, (SELECT array_agg(b.times[p.place] ORDER BY p.n)
             FROM unnest((%s::int8[])[w.first:w.last]) WITH ORDINALITY AS p(place, n))
FROM unnest(%s::int8[], %s::int8[], %s::int8[]) WITH ORDINALITY AS w(block_id, first, last, n)
CROSS JOIN LATERAL (
    SELECT r.times || '{}'::float8[] AS times FROM record_block r
    WHERE r.project_id = %s AND r.run_id = %s AND r.id = w.block_id OFFSET 0
) AS b
"""


def times_at(
    session: Session,
    *,
    project_id: UUID,
    run_id: UUID,
    block_ids: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.float64]:
    """When single points were logged.

    Args:
        block_ids: Shape (n,); the block of each point.
        places: Shape (n,); which of its block's points it is, from 0.

    Raises:
        BlockGone: A block has been merged with others since.
    """
    if not len(block_ids):
        return np.empty(0, dtype=np.float64)
    order = np.argsort(block_ids, kind="stable")
    sorted_ids = block_ids[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(sorted_ids)) + 1])
    ends = np.append(starts[1:], len(order))
    # Postgres counts from one, and both ends are included.
    asked = (
        Wholes(places[order] + 1),
        *(Wholes(sorted_ids[starts]), Wholes(starts + 1), Wholes(ends)),
        *(project_id, run_id),
    )
    cursor = columns_cursor(connection_of(session))
    found = dict(cursor.execute(_TIMES, asked).fetchall())
    if len(found) != len(starts):
        raise BlockGone
    times = np.empty(len(order), dtype=np.float64)
    times[order] = np.concatenate([found[n + 1] for n in range(len(starts))])
    return times
