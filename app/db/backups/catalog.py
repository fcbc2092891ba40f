"""What Postgres says of the tables: names, columns, keys, what refers to what. Nothing here knows the schema."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from app.db.backups.archive import BackupFailed, Identity

# Where Alembic keeps the name of the newest migration; a backup carries it in its header.
# Made by migrations and holding no rows; they go before the tables that they look at.
VIEWS = ("metric_point",)
VERSION_TABLE = "alembic_version"
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A table as COPY needs it. order: its primary key; text in it sorts by bytes, wherever the database stands."""

    name: str
    columns: tuple[str, ...]
    order: sql.Composed


def speak_plainly(connection: psycopg.Connection) -> None:
    """Let values be written so that reading them gives the same values, and let a long statement run.

    Until the end of the transaction. A server's own settings may say otherwise.
    """
    settings = {
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "lock_timeout": "60s",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    if connection.info.server_version >= 170000:
        settings["transaction_timeout"] = "0"
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def table_names(connection: psycopg.Connection) -> list[str]:
    """Every table of the schema that the service uses, those of extensions left out."""
    rows = connection.execute(
        """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY c.relname
        """
    )
    return [name for (name,) in rows]


def schema_revision(connection: psycopg.Connection) -> str | None:
    """The newest migration that was run; None for a database without the service's tables."""
    if connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone() == (None,):
        return None
    query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE))
    found = connection.execute(query).fetchall()
    if len(found) != 1:
        return None
    return str(found[0][0])


def in_order(connection: psycopg.Connection, names: Iterable[str]) -> list[str]:
    """The tables so that each comes after those that it refers to."""
    graph: dict[str, set[str]] = {name: set() for name in sorted(names)}
    rows = connection.execute(
        """
        SELECT child.relname, parent.relname FROM pg_constraint k
        JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid
        WHERE k.contype = 'f' AND child.relnamespace = current_schema()::regnamespace
        UNION
        -- Where a trigger looks for the parent, the parent is its argument.
        SELECT child.relname, split_part(encode(t.tgargs, 'escape'), '\\000', 1) FROM pg_trigger t
        JOIN pg_class child ON child.oid = t.tgrelid
        WHERE t.tgname = child.relname || '_has_parent' AND child.relnamespace = current_schema()::regnamespace
        ORDER BY 1, 2
        """
    )
    for child, parent in rows:
        if child != parent and child in graph:
            graph[child].add(parent)
    return [name for name in graphlib.TopologicalSorter(graph).static_order() if name in graph]


def identities(connection: psycopg.Connection, names: Iterable[str]) -> list[Identity]:
    """Where each counting column goes on; at least the number after the largest that a snapshot can see."""
    rows = connection.execute(
        """
        SELECT c.relname, a.attname, pg_get_serial_sequence(quote_ident(c.relname), a.attname)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(%s) AND a.attidentity <> ''
        ORDER BY 1, 2
        """,
        (list(names),),
    ).fetchall()
    found = []
    for table, column, sequence in rows:
        # The name comes quoted from Postgres itself.
        query = sql.SQL("SELECT last_value + is_called::int FROM {}").format(sql.SQL(sequence))
        row = connection.execute(query).fetchone()
        found.append(Identity(table=table, column=column, next=row[0] if row else 1))
    return found


def count_on(connection: psycopg.Connection, identity: Identity) -> None:
    connection.execute(
        "SELECT setval(pg_get_serial_sequence(quote_ident(%s), %s), %s, false)",
        (identity.table, identity.column, identity.next),
    )


def copy_out(connection: psycopg.Connection, shape: TableShape) -> Iterator[bytes]:
    """Every row of the table as lines of COPY, in the order of its key, many to a chunk."""
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT").format(
        _columns(shape.columns), sql.Identifier(shape.name), shape.order
    )
    held: list[bytes] = []
    size = 0
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for row in copy:
            held.append(bytes(row))
            size += len(row)
            if size >= _CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
    if held:
        yield b"".join(held)


def copy_statement(shape: TableShape) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(shape.name), _columns(shape.columns))


def shape_of(connection: psycopg.Connection, name: str) -> TableShape:
    columns = connection.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ORDER BY attnum
        """,
        (name,),
    ).fetchall()
    key = connection.execute(
        """
        SELECT a.attname, a.attcollation <> 0 FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS part (number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = part.number
        WHERE i.indrelid = quote_ident(%s)::regclass AND i.indisprimary
        ORDER BY part.place
        """,
        (name,),
    ).fetchall()
    if not key:
        raise BackupFailed(f"table {name} has no primary key; Truerun's tables need a schema of their own")
    parts = [
        sql.SQL("{} COLLATE {}").format(sql.Identifier(column), sql.Identifier("C"))
        if is_text
        else sql.Identifier(column)
        for column, is_text in key
    ]
    return TableShape(
        name=name,
        columns=tuple(column for (column,) in columns),
        order=sql.SQL("").join([sql.SQL(", ").join(parts)]),
    )


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join([sql.Identifier(name) for name in names])
