"""Statements whose text never changes: written as SQLAlchemy writes them, compiled once, run by the driver itself.

Building a statement and running it through SQLAlchemy takes 0.2 to 0.5 ms of processor time, most of what a request
with thirty small statements takes; one of these takes 0.03 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import JSON, Connection, Executable
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql import ClauseElement

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


class Fixed:
    """One statement; whatever differs from call to call is a `bindparam` without a value.

    What comes back are the driver's own values, which are those of our columns' types; what fails is raised as
    SQLAlchemy raises it.

    Args:
        statement: Without `in_` (its text would depend on how many there are; `any_` of an array does not).
        columns: For an insert without values, which columns are given.
    """

    def __init__(self, statement: Executable, *, columns: Sequence[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._text: str | None = None
        self._constants: dict[str, Any] = {}
        self._documents: tuple[str, ...] = ()

    def all(self, session: Session, **given: Any) -> list[dict[str, Any]]:
        """Every row, by the names of its columns."""
        with driver_cursor(session) as cursor:
            rows: list[dict[str, Any]] = cursor.execute(*self._ready(given)).fetchall()
            return rows

    def first(self, session: Session, **given: Any) -> dict[str, Any] | None:
        """The first row."""
        with driver_cursor(session) as cursor:
            row: dict[str, Any] | None = cursor.execute(*self._ready(given)).fetchone()
            return row

    def run(self, session: Session, **given: Any) -> int:
        """How many rows it has touched."""
        with driver_cursor(session) as cursor:
            return cursor.execute(*self._ready(given)).rowcount

    def _ready(self, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if self._text is None:
            self._compile()
        values = {**self._constants, **given}
        for name in self._documents:
            if values[name] is not None:
                values[name] = Jsonb(values[name])
        return self._text, values

    def _compile(self) -> None:
        # Two threads may both do this at once, to the same end.
        if not isinstance(self._statement, ClauseElement):
            raise TypeError(f"{self._statement!r} has no text of its own")
        compiled = self._statement.compile(dialect=_DIALECT, column_keys=self._columns)
        binds = compiled.binds.items()  # type: ignore[attr-defined]  # those of SQL are not in its type
        self._constants = {name: bind.effective_value for name, bind in binds if not bind.required}
        self._documents = tuple(name for name, bind in binds if isinstance(bind.type, JSON))
        self._text = str(compiled)


@contextmanager
def driver_cursor(session: Session) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
    """The driver's own, inside the session's transaction; what fails is raised as SQLAlchemy raises it."""
    connection = session.connection()
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        with driver.cursor(row_factory=dict_row) as cursor:
            yield cursor
    except psycopg.Error as error:
        _raise_as_usual(connection, error)


def _raise_as_usual(connection: Connection, error: psycopg.Error) -> NoReturn:
    """Raise what SQLAlchemy would, and give up the connection where it is lost."""
    driver: Any = connection.connection.driver_connection
    is_lost = driver.closed or driver.broken
    usual = DBAPIError.instance(
        None,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
    if is_lost:
        connection.invalidate(error)
    raise usual from error
