"""A migration never makes the service wait for long: it gives up, says why, leaves things as they were, tries again."""

from __future__ import annotations

import ast
import inspect
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from app.db import migrate
from app.db.migrate import MigrationBlocked, MigrationFailed
from tests.migrations.previous import PREVIOUS_SCHEMA


def scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrate.migrations_dir()).replace("%", "%%"))
    return config


REVISIONS = [
    str(each.revision) for each in reversed(list(ScriptDirectory.from_config(scripts()).walk_revisions()))
]


@contextmanager
def a_long_transaction(database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody who reads every table and does not come to an end."""
    with psycopg.connect(database_url, application_name="a notebook") as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        for (name,) in names:
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(name)))
        yield connection
        connection.rollback()


def schema_of(database_url: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything that a migration changes, as Postgres describes it."""
    with psycopg.connect(database_url) as connection:
        return {
            "revision": connection.execute("SELECT version_num FROM alembic_version").fetchall(),
            "columns": connection.execute(
                "SELECT table_name, column_name, data_type, is_nullable, column_default "
                "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
            ).fetchall(),
            "indexes": connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
            ).fetchall(),
            "constraints": connection.execute(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall(),
        }


@pytest.fixture
def old_url(empty_database_url: str) -> str:
    migrate.upgrade(empty_database_url, PREVIOUS_SCHEMA)
    return empty_database_url


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_migration_says_how_long_it_may_wait_and_run(revision: str) -> None:
    script = ScriptDirectory.from_config(scripts()).get_revision(revision)

    body = ast.parse(inspect.getsource(script.module.upgrade)).body[0]

    assert isinstance(body, ast.FunctionDef)
    said = [ast.unparse(each) for each in body.body[:2]]
    assert re.fullmatch(r"op\.execute\(.SET LOCAL lock_timeout = '\d+s'.\)", said[0]), said
    assert re.fullmatch(r"op\.execute\(.SET LOCAL statement_timeout = '\d+s'.\)", said[1]), said


def test_a_blocked_migration_gives_up_and_leaves_the_schema(old_url: str, empty_dir: object) -> None:
    started = time.monotonic()

    with a_long_transaction(old_url) as holder:
        with pytest.raises(MigrationBlocked) as blocked:
            migrate.upgrade(old_url)
        pid = holder.info.backend_pid

    # Its own lock_timeout is 5 s; without one it would wait for ever.
    assert time.monotonic() - started < 60
    assert "gave up" in str(blocked.value)
    assert f"process {pid} (a notebook, idle in transaction)" in str(blocked.value)
    reached = schema_of(old_url)["revision"][0][0]
    left = schema_of(old_url)
    with a_fresh_schema(old_url, str(reached)) as other:
        assert schema_of(other) == left
    migrate.upgrade(old_url)
    assert schema_of(old_url)["revision"] == [(REVISIONS[-1],)]


@contextmanager
def a_fresh_schema(beside: str, revision: str) -> Iterator[str]:
    """Another database, migrated to that revision in one go."""
    name = "fresh_" + re.sub(r"\W", "_", beside.rpartition("/")[2].partition("?")[0])
    other = re.sub(r"/[^/?]+\?", f"/{name}?", beside)
    with psycopg.connect(beside, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            migrate.upgrade(other, revision)
            yield other
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize(
    ("migrated", "first", "then"),
    [
        ("0005", "attempt", "run"),
        ("0007", "outbox_message", "sink"),
        ("0008", "evaluation", "evaluation_value"),
    ],
)
def test_who_reads_beside_a_migration_is_never_the_victim_of_a_deadlock(
    migrated: str, first: str, then: str, old_url: str
) -> None:
    """Tables that the next migration locks, read in another order while it waits."""
    migrate.upgrade(old_url, migrated)
    failed: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(old_url, wait_seconds=120)
        except MigrationFailed as error:
            failed.append(error)

    thread = threading.Thread(target=upgrade)
    with psycopg.connect(old_url) as reader:
        reader.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(first)))
        thread.start()
        until_somebody_waits(old_url)
        # Whoever begins to wait last looks for the deadlock last, and finds it if the other has looked in vain.
        time.sleep(1.5)
        reader.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(then)))
        reader.rollback()
    thread.join(120)

    assert failed == []
    assert schema_of(old_url)["revision"] == [(REVISIONS[-1],)]


def until_somebody_waits(database_url: str) -> None:
    """For a lock that nobody else may share."""
    with psycopg.connect(database_url, autocommit=True) as looking:
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')"
        deadline = time.monotonic() + 60
        while looking.execute(waits).fetchone() == (False,):
            assert time.monotonic() < deadline, "nothing was in its way"
            time.sleep(0.02)


def test_a_migration_that_may_wait_goes_through_when_the_way_is_free(old_url: str) -> None:
    done: list[BaseException | None] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(old_url, wait_seconds=120)
        except MigrationFailed as error:
            done.append(error)
        else:
            done.append(None)

    thread = threading.Thread(target=upgrade)
    with a_long_transaction(old_url):
        thread.start()
        until_somebody_waits(old_url)
    thread.join(120)

    assert done == [None]
    assert schema_of(old_url)["revision"] == [(REVISIONS[-1],)]


def test_nothing_is_waited_for_when_nothing_is_missing(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as backup:
        backup.execute("SELECT pg_advisory_lock_shared(%s)", (migrate.MIGRATION_LOCK,))

        migrate.upgrade(database_url)


def test_a_newer_schema_is_named(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(MigrationFailed, match=r"schema 9999.*newer"):
        migrate.upgrade(database_url)
