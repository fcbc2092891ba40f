"""From a file into an empty database: all of it or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from app.db import migrate
from app.db.backups import catalog
from app.db.backups.archive import BackupFailed, Contents, Header, Reader, Table, Total
from app.db.backups.catalog import TableShape
from app.db.backups.sessions import driver_of, told
from app.db.tables import project

# References are checked at the end of each COPY and remembered until then, so that a COPY must not grow without bound.
_BATCH_BYTES = 16 * 1024 * 1024
_WRITE_BYTES = 256 * 1024
_WAY_OUT = (
    "restore into a new one: create it and name it with DATABASE_URL, or choose another TRUERUN_DATA_DIR "
    "where Postgres is our own"
)


def load(database_url: str, file: BinaryIO, *, say: Callable[[str], None]) -> Contents:
    """Put a backup into an empty database and bring it to the schema of this release.

    The rows come in one transaction, which ends only when each table read back has the digest it had when it was
    written. Whatever goes wrong before, even SIGKILL, leaves no row; the same command can then be run again.

    Raises:
        BackupFailed: The file is not whole, the database is not empty, or the two do not fit.
    """
    reader = Reader(file)
    with told(), migrate.connected(database_url) as connection:
        if not migrate.knows(reader.header.schema):
            raise BackupFailed(
                f"the backup has schema {reader.header.schema}, which this release does not know: a newer one made it. "
                f"Restore it with release {reader.header.release} or a later one"
            )
        migrate.take_lock(connection)
        _prepare(connection, reader.header)
        driver = driver_of(connection)
        with driver.transaction():
            catalog.speak_plainly(driver)
            totals = _fill(driver, reader, say)
        say("every table is as it was written; bringing the schema to this release")
        migrate.upgrade_on(connection)
        driver = driver_of(connection)
        with driver.transaction():
            driver.execute("ANALYZE")
    return Contents(header=reader.header, tables=totals)


def _prepare(connection: Connection, header: Header) -> None:
    """Have the tables of the backup's schema, without a row."""
    driver = driver_of(connection)
    with driver.transaction():
        names = catalog.table_names(driver)
        is_there = catalog.schema_revision(driver) == header.schema
        if names:
            _check_empty(driver, names)
        if names and not is_there:
            strangers = sorted(
                set(names) - set(header.tables) - set(project.metadata.tables) - {catalog.VERSION_TABLE}
            )
            if strangers:
                raise BackupFailed(
                    f"the database has tables that are not Truerun's ({strangers[0]}); {_WAY_OUT}"
                )
            # Tables of another release without a row, as a first `migrate` leaves them: nothing is lost with them.
            listed = sql.SQL(", ").join([sql.Identifier(name) for name in names])
            for view in catalog.VIEWS:
                driver.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(view)))
            driver.execute(sql.SQL("DROP TABLE {}").format(listed))
    if not is_there:
        migrate.upgrade_on(connection, header.schema)


def _check_empty(driver: psycopg.Connection, names: Iterable[str]) -> None:
    """Take the tables for ourselves and see that nobody's rows are in them."""
    tables = sorted(set(names) - {catalog.VERSION_TABLE})
    if not tables:
        return
    driver.execute("SELECT set_config('lock_timeout', '5s', true)")
    listed = sql.SQL(", ").join([sql.Identifier(name) for name in tables])
    try:
        driver.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(listed))
    except psycopg.errors.LockNotAvailable:
        raise BackupFailed("somebody is using this database; stop the API and the worker first") from None
    for name in tables:
        found = driver.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(name))
        ).fetchone()
        if found == (True,):
            raise BackupFailed(f"the database is not empty (table {name} has rows); {_WAY_OUT}")


def _fill(driver: psycopg.Connection, reader: Reader, say: Callable[[str], None]) -> dict[str, Total]:
    names = [name for name in catalog.table_names(driver) if name != catalog.VERSION_TABLE]
    # Again, and held to the end: since the tables were made, a service may have started on them.
    _check_empty(driver, names)
    shapes = {name: catalog.shape_of(driver, name) for name in names}
    missing = sorted(set(shapes) - set(reader.header.tables))
    if missing:
        raise BackupFailed(f"the backup has no table {missing[0]}, which schema {reader.header.schema} has")
    totals = {}
    for table in reader.tables():
        shape = shapes.get(table.name)
        if shape is None:
            say(f"{table.name}: left out, it is not a table of Truerun")
            for _ in table.rows():
                pass
        else:
            totals[table.name] = _fill_table(driver, table, shape)
            say(f"{table.name}: {totals[table.name].rows:,} rows")
    for identity in reader.header.identities:
        if identity.table in shapes:
            catalog.count_on(driver, identity)
    return totals


def _fill_table(driver: psycopg.Connection, table: Table, shape: TableShape) -> Total:
    if set(table.columns) != set(shape.columns):
        odd = sorted(set(table.columns) ^ set(shape.columns))
        raise BackupFailed(
            f"table {table.name} has other columns in the backup than in its schema ({odd[0]})"
        )
    # In the file's order of columns, which is that of the digest.
    shape = TableShape(name=shape.name, columns=table.columns, order=shape.order)
    statement = catalog.copy_statement(shape)
    for batch in _batches(table.rows()):
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for chunk in batch:
                copy.write(chunk)
    total = table.total()
    if _total_of(driver, shape) != total:
        raise BackupFailed(
            f"table {table.name} reads differently from how it was written; nothing was restored"
        )
    return total


def _batches(rows: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """The rows in chunks to write, and the chunks in portions for one COPY each."""
    chunks = _chunks(rows)
    for first in chunks:
        yield _portion(first, chunks)


def _portion(first: bytes, more: Iterator[bytes]) -> Iterator[bytes]:
    size = len(first)
    yield first
    while size < _BATCH_BYTES:
        chunk = next(more, None)
        if chunk is None:
            return
        size += len(chunk)
        yield chunk


def _chunks(rows: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size >= _WRITE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _total_of(driver: psycopg.Connection, shape: TableShape) -> Total:
    digest, rows = hashlib.sha256(), 0
    for chunk in catalog.copy_out(driver, shape):
        digest.update(chunk)
        rows += chunk.count(b"\n")
    return Total(rows=rows, sha256=digest.hexdigest())
