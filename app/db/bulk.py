"""Many rows at once: COPY in its binary form, made here.

Measured with the 250 values of a post: 0.7 ms of Postgres and 0.4 ms here, against 1.0 and 0.6 ms for the same rows as
one JSON parameter of an INSERT, and 0.8 and 1.0 ms as an array for each column.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.abc import Buffer, PQGen
from psycopg.copy import LibpqWriter
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from app.db.engine import dump_strictly
from app.db.fixed import driver_cursor

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_NOTHING = struct.pack(">i", 3) + b"\x01{}"
_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a table as COPY takes them; none where `content` is empty."""

    into: str
    content: bytes


def rows_of(table: Table, *, same: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> Rows:
    """As many rows as the columns are long.

    Args:
        same: Columns that hold the same value in every row.
        columns: The others, each as long as the others. Plain types only; no arrays or times. A column of JSON that
            is all tuples, each of texts, is written fastest.
    """
    named = ", ".join(map(_PREPARER.quote, [*same, *columns]))
    into = f"{table.name} ({named})"
    if not any(len(values) for values in columns.values()):
        return Rows(into=into, content=b"")
    start = struct.pack(">h", len(same) + len(columns)) + b"".join(
        _fields(table.c[name].type, [value])[0] for name, value in same.items()
    )
    fields = [_fields(table.c[name].type, values) for name, values in columns.items()]
    rows = [start + b"".join(row) for row in zip(*fields, strict=True)]
    return Rows(into=into, content=b"".join((_HEAD, *rows, _END)))


def insert(session: Session, rows: Rows) -> None:
    with inserting(session, rows):
        pass


@contextmanager
def inserting(session: Session, rows: Rows) -> Iterator[None]:
    """Let Postgres insert the rows while the block runs; they are there, or what failed is raised, at its end.

    The connection is taken for so long: a block that asks it anything waits for ever.
    """
    if not rows.content:
        yield
        return
    with (
        driver_cursor(session) as cursor,
        cursor.copy(f"COPY {rows.into} FROM STDIN (FORMAT BINARY)", writer=_Whole(cursor)) as copy,
    ):
        copy.write(rows.content)
        yield


class _Whole(LibpqWriter):
    """Sends everything with the first write, its end included, and waits at the end for what became of it.

    The driver's own writer sends the end when it begins to wait, and until then Postgres keeps the rows in a buffer.
    """

    def write(self, data: Buffer) -> None:
        super().write(data)
        self.connection.wait(_end(self.connection.pgconn))

    def finish(self, exc: BaseException | None = None) -> None:  # noqa: ARG002  too late to take anything back
        (result,) = self.connection.wait(fetch_many(self.connection.pgconn))
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)


def _end(connection: PGconn) -> PQGen[None]:
    while connection.put_copy_end() == 0:
        while not (yield Wait.W):
            continue
    while connection.flush() != 0:
        while not (yield Wait.W):
            continue


def _fields(kind: TypeEngine[Any], values: Sequence[Any]) -> list[bytes]:
    """Each value as COPY reads it: its length, then its bytes."""
    if isinstance(kind, Double):
        pack = struct.Struct(">id").pack
        return [_NULL if value is None else pack(8, value) for value in values]
    written = _writer(kind)
    if isinstance(kind, JSON) and not all(isinstance(value, tuple) for value in values):
        return [_NOTHING if value == {} else written(value) for value in values]
    # Most columns repeat a few values; of those that compare equal all are written alike, unlike 0.0 and -0.0.
    known = {value: written(value) for value in set(values)}
    return [known[value] for value in values]


def _writer(kind: TypeEngine[Any]) -> Callable[[Any], bytes]:
    found = next((write for known, write in _WRITERS if isinstance(kind, known)), None)
    if found is None:
        raise TypeError(f"{kind!r} is not written as a column")
    return lambda value: _NULL if value is None else found(value)


def _sized(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _text(value: str) -> bytes:
    return _sized(value.encode())


def _document(value: Any) -> bytes:
    # The version of jsonb's binary form stands before it.
    return _sized(b"\x01" + dump_strictly(value).encode())


# The first that fits: BigInteger and SmallInteger are Integers too.
_WRITERS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any], bytes]], ...] = (
    (BigInteger, lambda value: struct.pack(">iq", 8, value)),
    (SmallInteger, lambda value: struct.pack(">ih", 2, value)),
    (Integer, lambda value: struct.pack(">ii", 4, value)),
    (Boolean, lambda value: struct.pack(">i?", 1, value)),
    (LargeBinary, _sized),
    (JSON, _document),
    (Uuid, lambda value: _sized(value.bytes)),
    (Text, _text),
)
