"""How the service reaches Postgres."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Dialect, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker

__all__ = [
    "Session",
    "SessionFactory",
    "Timeouts",
    "drop_connections",
    "make_engine",
    "make_probe",
    "session_factory",
]

SessionFactory: TypeAlias = sessionmaker[Session]

_POOL_SIZE = 20
_DRIVER = "postgresql+psycopg"
_KNOWS_TRANSACTION_TIMEOUT = 170_000
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """When to give up, in seconds.

    Args:
        connection: Until a connection of the pool is free.
        statement, lock: One statement, the wait for one lock.
        idle_transaction: A transaction in which nothing happens; Postgres ends its connection.
        transaction: A whole transaction, on Postgres 17 and newer; Postgres ends its connection.
    """

    connection: float = 5.0
    statement: float = 30.0
    lock: float = 10.0
    idle_transaction: float = 30.0
    transaction: float = 60.0


def make_engine(
    url: str | URL,
    *,
    pool_size: int = _POOL_SIZE,
    timeouts: Timeouts = Timeouts(),
) -> Engine:
    """An engine whose connections speak UTC, give up instead of hanging, and refuse NaN in JSON.

    A connection that died while it rested in the pool (Postgres was restarted) is replaced before it is used.

    Args:
        url: Any URL that Postgres' own tools take; the driver is ours.
        pool_size: How many connections there are at most.
    """
    engine = create_engine(
        _with_our_driver(make_url(url)),
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        # Connections beyond the pool would be opened and closed with every peak.
        max_overflow=0,
        pool_timeout=timeouts.connection,
        pool_recycle=1800,
        json_serializer=dump_strictly,
        json_deserializer=_load,
        # An error's text goes into the log, and the values of a statement are payload.
        hide_parameters=True,
        connect_args=_REACHING,
    )
    event.listen(engine, "connect", _settling(timeouts))
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", _testing(engine.dialect))
    opened = _opened[engine] = weakref.WeakSet()
    event.listen(engine, "connect", lambda connection, _record: opened.add(connection))
    return engine


# A connection that was used so lately, and that nothing has come from since, is as good as it was.
_TESTED_AFTER_SECONDS = 1.0


def _note_rest(_connection: Any, record: Any) -> None:
    record.info["rests_since"] = time.monotonic()


def _testing(dialect: Dialect) -> Callable[[Any, Any, Any], None]:
    """Asks a connection that has rested whether it lives; SQLAlchemy's own test would ask before every use."""

    def test(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get("rests_since")
        if since is None:
            return
        try:
            if time.monotonic() - since < _TESTED_AFTER_SECONDS and not _has_come(connection):
                return
            dialect.do_ping(connection)
        except psycopg.Error as error:
            # Every other that rests is as old; each is opened anew before it is used.
            raise InvalidatePoolError from error

    return test


def _has_come(connection: Any) -> bool:
    """Whether there is something to read: Postgres says why it ends a connection, and closes its side."""
    looked = select.poll()
    looked.register(connection.fileno(), select.POLLIN)
    return bool(looked.poll(0))


def make_probe(url: str | URL, *, seconds: float) -> Engine:
    """An engine for looking in from the side: each use is a new connection, however busy the pool is.

    Args:
        seconds: How long connecting, and one statement, may take.
    """
    engine = create_engine(
        _with_our_driver(make_url(url)),
        isolation_level="READ COMMITTED",
        poolclass=NullPool,
        hide_parameters=True,
        # libpq takes whole seconds, at least two.
        connect_args=_REACHING | {"connect_timeout": max(2, math.ceil(seconds))},
    )
    event.listen(engine, "connect", _settling(Timeouts(statement=seconds, lock=seconds)))
    return engine


# What each engine has opened, for `drop_connections`; a pool does not tell what it has given away.
_opened: weakref.WeakKeyDictionary[Engine, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()

# A peer that has vanished without a word is noticed within half a minute; over a Unix socket these do nothing.
_REACHING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def _settling(timeouts: Timeouts) -> Callable[[Any, Any], None]:
    settings = {
        "TimeZone": "UTC",
        "statement_timeout": _milliseconds(timeouts.statement),
        "lock_timeout": _milliseconds(timeouts.lock),
        "idle_in_transaction_session_timeout": _milliseconds(timeouts.idle_transaction),
        "application_name": "truerun",
    }
    newer = {"transaction_timeout": _milliseconds(timeouts.transaction)}

    def settle(connection: Any, _record: Any) -> None:
        # Statements rather than connection options: a pooler such as PgBouncer refuses options it does not know.
        known = settings | (newer if connection.info.server_version >= _KNOWS_TRANSACTION_TIMEOUT else {})
        autocommit = connection.autocommit
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in known),
                [part for setting in known.items() for part in setting],
            )
        connection.autocommit = autocommit

    return settle


def _milliseconds(seconds: float) -> str:
    # Zero would mean: without end.
    return f"{max(1, round(1000 * seconds))}ms"


def drop_connections(engine: Engine) -> int:
    """Cut every connection that is being used, so that whoever waits for an answer gets an error instead; how many.

    What was not committed is rolled back by Postgres. For the end of the process only.
    """
    cut = 0
    for connection in list(_opened.get(engine, ())):
        if connection.pgconn.transaction_status == TransactionStatus.IDLE or connection.closed:
            continue
        # A second name for the same socket: closing the connection itself would wait for the thread that uses it.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
            cut += 1
    return cut


def session_factory(engine: Engine) -> SessionFactory:
    """Makes sessions; `factory.begin()` is one transaction that commits at the end of its block."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)


def _with_our_driver(url: URL) -> URL:
    return url.set(drivername=_DRIVER)


# Made once: `json.dumps` makes one for each call that wants anything unusual.
_STRICT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def dump_strictly(document: Any) -> str:
    """JSON as jsonb takes it; raises ValueError on NaN."""
    return _STRICT.encode(document)


def _load(text: str | bytes) -> Any:
    return json.loads(text, parse_int=_number)


def _number(digits: str) -> int | float:
    # jsonb writes 1e300 as an integer of 301 digits; integers that were stored have at most 64 bits.
    number = int(digits)
    return number if number in _INT64 else float(number)
