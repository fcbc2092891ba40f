"""What trainings wrote down about their records, and whether the database agrees, record by record."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.faults.trainer import Account, Kind, read_account, title_of
from truerun.points import Decoder

# Of a segment: magic, the stream's id, the first idx.
_SEGMENT_HEAD_BYTES = 32
# What each kind of record that holds numbers is stored as: (metric, group) and its multiple of the entry's value.
_STORED: Mapping[Kind, Mapping[tuple[str, str], float]] = {
    Kind.POINT: {("loss", ""): 1.0, ("half", ""): 0.5},
    Kind.GROUPS: {("mse", "easy"): 1.0, ("mse", "hard"): 2.0},
}

# The trainings give each record's idx as its step, so a step names a record.
_POINTS = """
SELECT s.name, s.group_name, u.step, u.value
FROM record_block b
JOIN metric_chunk c ON c.project_id = b.project_id AND c.run_id = b.run_id AND c.block_id = b.id
JOIN metric_series s ON s.project_id = c.project_id AND s.run_id = c.run_id AND s.id = c.series_id
CROSS JOIN LATERAL unnest(
    coalesce(b.steps, ARRAY(SELECT b.step_start + i * b.step_stride FROM generate_series(0, b.count - 1) i)),
    c."values"
) AS u(step, value)
WHERE b.stream_id = %s
"""
_BOOKS = """
SELECT s.next_idx, s.stored, s.rejected, s.gaps, s.logged,
       (SELECT coalesce(sum(count), 0) FROM record_block b WHERE b.run_id = s.run_id AND b.stream_id = s.id),
       (SELECT count(*) FROM run_event e WHERE e.run_id = s.run_id AND e.stream_id = s.id),
       (SELECT count(*) FROM record_reject r WHERE r.run_id = s.run_id AND r.stream_id = s.id),
       (SELECT coalesce(sum(until - first), 0) FROM record_gap g WHERE g.run_id = s.run_id AND g.stream_id = s.id)
FROM stream s WHERE s.id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A stream's row, and beside it what the rows of its records come to."""

    next_idx: int
    stored: int
    rejected: int
    gaps: int
    logged: int
    points: int
    events: int
    reject_rows: int
    gap_records: int


@dataclass
class RecordLedger:
    """The accounts of all trainings, and what lay in the spool when one was killed.

    Args:
        spooled: Records by stream.
    """

    accounts: list[Path] = field(default_factory=list)
    spooled: dict[UUID, set[int]] = field(default_factory=dict)

    def note_spooled(self, spool: Path, account: Path) -> None:
        """Look into the files of a training that is gone, as an outsider does: touching nothing."""
        found = read_account(account)
        if found is None:
            return
        for segment in spool.glob(f"*/streams/{found.stream_id}/*.seg"):
            self.spooled.setdefault(found.stream_id, set()).update(records_in(segment))

    def read(self) -> list[Account]:
        found = [read_account(path) for path in self.accounts]
        return [each for each in found if each is not None]

    @property
    def acknowledged(self) -> int:
        """Records of all trainings that the client called acknowledged."""
        return sum(each.acknowledged for each in self.read())

    def disagreements(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Every way in which the database and the accounts differ, or the database with itself."""
        found: list[str] = []
        known = set()
        for account in self.read():
            known.add(account.stream_id)
            found += _about(account, self.spooled.get(account.stream_id, set()), connection)
        streams = {row[0] for row in connection.execute("SELECT id FROM stream")}
        return found + [f"nobody wrote stream {each}" for each in sorted(streams - known)]


def records_in(segment: Path) -> set[int]:
    """The numbers of the records that can be read from a file of the spool; none when it is gone."""
    try:
        content = segment.read_bytes()
    except FileNotFoundError:
        return set()
    records, _ = Decoder().decode(content, _SEGMENT_HEAD_BYTES)
    return {record.idx for record in records}


def _about(account: Account, spooled: set[int], connection: psycopg.Connection[Any]) -> Iterator[str]:
    stream = account.stream_id
    if account.went_back is not None:
        before, after = account.went_back
        yield f"acknowledged and lost: {stream} was told {before}, then {after}"
    row = connection.execute(_BOOKS, (stream,)).fetchone()
    if row is None:
        if account.returned or spooled:
            yield f"logged and lost: all {account.returned} of {stream}, {account.acknowledged} acknowledged"
        return
    books = Books(**dict(zip(Books.__dataclass_fields__, map(int, row), strict=True)))
    yield from _about_books(account, books)
    yield from _about_records(account, books, spooled, connection)


def _about_books(account: Account, books: Books) -> Iterator[str]:
    stream = account.stream_id
    if books.next_idx != books.stored + books.rejected + books.gaps:
        yield f"the books of {stream} do not balance: {books}"
    if (books.rejected, books.gaps) != (books.reject_rows, books.gap_records):
        yield f"rejects or gaps of {stream} are not what its books say: {books}"
    # Nothing that these trainings log is refused, and no process but theirs was killed at the disk.
    if books.rejected or books.gaps:
        yield f"rejected or lost on the way: {books.rejected} and {books.gaps} of {stream}"
    at_most = len(account.entries) + account.is_ended
    if not account.returned <= books.next_idx <= at_most or books.logged < books.next_idx:
        yield f"logged {account.returned} to {at_most} records of {stream}, but its books say {books}"
    summaries = sum(kind is Kind.SUMMARY for _, kind in account.entries[: books.next_idx])
    ends = int(books.next_idx > len(account.entries))
    if books.points + books.events + summaries + ends != books.stored:
        yield f"{stream} has {books.points} points, {books.events} events, {summaries} summaries, and {books}"


def _about_records(
    account: Account, books: Books, spooled: set[int], connection: psycopg.Connection[Any]
) -> Iterator[str]:
    stream = account.stream_id
    expected = _expected(account)
    stored = Counter(
        (step, name, group, _bits(value))
        for name, group, step, value in connection.execute(_POINTS, (stream,))
    )
    stored.update(
        (idx, "event", "", title)
        for idx, title in connection.execute(
            "SELECT idx, title FROM run_event WHERE stream_id = %s", (stream,)
        )
    )
    yield from (f"doubled: {each} of {stream}" for each, times in stored.items() if times > 1)
    yield from (f"other content: {each} of {stream}" for each in sorted(stored.keys() - expected))
    missing = {each[0] for each in expected - stored.keys()}
    # Summaries and the end have no rows of their own; the books say up to where the stream came.
    missing |= set(
        range(books.next_idx, max([account.acknowledged, account.returned, *(idx + 1 for idx in spooled)]))
    )
    for what, promised in (
        ("acknowledged", set(range(account.acknowledged))),
        ("spooled", spooled),
        ("logged", set(range(account.returned))),
    ):
        lost = sorted(missing & promised)
        if lost:
            yield f"{what} and lost: {len(lost)} of {stream}, {lost[:5]} first"


def _expected(account: Account) -> set[tuple[int, str, str, object]]:
    """(idx, metric or `event`, group, value's bits or title) of everything that may be stored."""
    found: set[tuple[int, str, str, object]] = set()
    for idx, (value, kind) in enumerate(account.entries):
        if kind is Kind.EVENT:
            found.add((idx, "event", "", title_of(value)))
        for (name, group), factor in _STORED.get(kind, {}).items():
            found.add((idx, name, group, _bits(factor * value)))
    return found


def _bits(value: float) -> bytes:
    """NaN equals itself here."""
    return b"nan" if value != value else struct.pack("<d", value)
