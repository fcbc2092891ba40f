"""How the service reaches Postgres."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

__all__ = ["Session", "SessionFactory", "make_engine", "session_factory"]

SessionFactory: TypeAlias = sessionmaker[Session]

# One request holds one connection; uvicorn runs at most 40 plain endpoints at once.
_POOL_SIZE = 10
_MAX_OVERFLOW = 30
_DRIVER = "postgresql+psycopg"
_INT64 = range(-(2**63), 2**63)


def make_engine(
    url: str | URL,
    *,
    pool_size: int = _POOL_SIZE,
    max_overflow: int = _MAX_OVERFLOW,
    statement_timeout_ms: int = 30_000,
    lock_timeout_ms: int = 15_000,
) -> Engine:
    """An engine whose connections speak UTC, give up instead of hanging, and refuse NaN in JSON.

    A connection that died while it rested in the pool (Postgres was restarted) is replaced before it is used.

    Args:
        url: Any URL that Postgres' own tools take; the driver is ours.
        statement_timeout_ms, lock_timeout_ms: How long one statement may run, and wait for one lock.
    """
    engine = create_engine(
        _with_our_driver(make_url(url)),
        isolation_level="READ COMMITTED",
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_pre_ping=True,
        pool_recycle=1800,
        json_serializer=dump_strictly,
        json_deserializer=_load,
        connect_args={"connect_timeout": 10},
    )
    settings = {
        "TimeZone": "UTC",
        "statement_timeout": f"{statement_timeout_ms}ms",
        "lock_timeout": f"{lock_timeout_ms}ms",
        "idle_in_transaction_session_timeout": "60s",
        "application_name": "truerun",
    }

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        # Statements rather than connection options: a pooler such as PgBouncer refuses options it does not know.
        autocommit = connection.autocommit
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in settings),
                [part for setting in settings.items() for part in setting],
            )
        connection.autocommit = autocommit

    return engine


def session_factory(engine: Engine) -> SessionFactory:
    """Makes sessions; `factory.begin()` is one transaction that commits at the end of its block."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)


def _with_our_driver(url: URL) -> URL:
    return url.set(drivername=_DRIVER)


def dump_strictly(document: Any) -> str:
    """JSON as jsonb takes it; raises ValueError on NaN."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def _load(text: str | bytes) -> Any:
    return json.loads(text, parse_int=_number)


def _number(digits: str) -> int | float:
    # jsonb writes 1e300 as an integer of 301 digits; integers that were stored have at most 64 bits.
    number = int(digits)
    return number if number in _INT64 else float(number)
