"""Connections that give up, and that can be cut."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from app.db import Timeouts, drop_connections, make_engine
from app.db.faults import DatabaseError, Fault, passing_fault


def fault_of(engine: Engine, *statements: str, idle_seconds: float = 0.0) -> Fault | None:
    """What stops these statements of one transaction; None when nothing does."""
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
                time.sleep(idle_seconds)
    except DatabaseError as error:
        return passing_fault(error)
    finally:
        engine.dispose()
    return None


@pytest.mark.parametrize(
    ("timeouts", "statements", "idle_seconds"),
    [
        pytest.param(Timeouts(statement=0.2), ["SELECT pg_sleep(30)"], 0.0, id="a long statement"),
        pytest.param(Timeouts(idle_transaction=0.2), ["SELECT 1", "SELECT 1"], 0.6, id="an idle transaction"),
        pytest.param(
            Timeouts(transaction=0.3), ["SELECT pg_sleep(0.2)"] * 20, 0.0, id="many short statements"
        ),
    ],
)
def test_what_lasts_too_long_is_ended_and_counts_as_slow(
    database_url: str, timeouts: Timeouts, statements: list[str], idle_seconds: float
) -> None:
    ended = fault_of(make_engine(database_url, timeouts=timeouts), *statements, idle_seconds=idle_seconds)
    patient = fault_of(make_engine(database_url), *statements[1:], idle_seconds=idle_seconds)

    assert (ended, patient) == (Fault.SLOW, None)


def test_cut_connections_end_who_waits_and_leave_who_rests(database_url: str) -> None:
    engine = make_engine(database_url)
    resting = engine.connect()
    resting.close()
    ended: list[Fault | None] = []
    began = threading.Event()

    def wait() -> None:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                began.set()
                connection.execute(text("SELECT pg_sleep(600)"))
        except DatabaseError as error:
            ended.append(passing_fault(error))

    thread = threading.Thread(target=wait)
    thread.start()
    began.wait(10)

    cut = drop_connections(engine)
    thread.join(10)
    engine.dispose()

    assert (cut, ended, thread.is_alive()) == (1, [Fault.BROKEN], False)


def rested(database_url: str) -> tuple[Engine, int, list[Any]]:
    """An engine with one connection that has just been used, its process, and what it is asked whether it lives."""
    engine = make_engine(database_url, pool_size=1)
    asked: list[Any] = []
    ask = engine.dialect.do_ping

    def counted(connection: Any) -> bool:
        asked.append(connection)
        return ask(connection)

    engine.dialect.do_ping = counted  # type: ignore[method-assign]
    with engine.connect() as connection:
        return engine, connection.scalar(text("SELECT pg_backend_pid()")), asked


def process_of(engine: Engine) -> int:
    with engine.connect() as connection:
        found: int = connection.scalar(text("SELECT pg_backend_pid()"))
        return found


def test_a_connection_that_was_used_just_now_is_not_asked_whether_it_lives(database_url: str) -> None:
    engine, before, asked = rested(database_url)
    monotonic_seconds = time.monotonic()

    after = process_of(engine)
    is_slow = time.monotonic() - monotonic_seconds > 0.5
    engine.dispose()

    assert after == before
    # A machine that stands still for a second makes it one that has rested.
    assert asked == [] or is_slow


def test_a_connection_that_has_rested_is_asked_and_kept(database_url: str) -> None:
    engine, before, asked = rested(database_url)
    began = time.monotonic()
    while time.monotonic() - began < 1.05:
        time.sleep(0.05)

    after = process_of(engine)
    engine.dispose()

    assert (after, len(asked)) == (before, 1)


def test_a_connection_that_ended_just_now_is_replaced_before_it_is_used(database_url: str) -> None:
    engine, before, asked = rested(database_url)
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))

    after = process_of(engine)
    engine.dispose()

    assert after != before
    assert len(asked) == 1


def test_an_error_of_the_database_does_not_show_the_values(database_url: str) -> None:
    engine = make_engine(database_url)

    with engine.connect() as connection, pytest.raises(DatabaseError) as caught:
        connection.execute(text("SELECT 1 / :zero, :secret"), {"zero": 0, "secret": "very-secret"})
    engine.dispose()

    assert "very-secret" not in str(caught.value)
