"""Bring a database to the schema of this release, or say whether it is there."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import errors as refusals
from sqlalchemy import Connection, create_engine, func, make_url, pool, select, text
from sqlalchemy.exc import OperationalError

import app

# Any number, as long as it is always the same: two servers that start at once must not migrate at once. Backups share
# it, so that no migration begins in the middle of one.
MIGRATION_LOCK = 7_871_246_339
# How long to wait for whoever holds it.
LOCK_WAIT_SECONDS = 60
RETRY_SECONDS = 2.0
_GAVE_UP = (refusals.LockNotAvailable, refusals.QueryCanceled, refusals.DeadlockDetected)


class DatabaseUnavailable(RuntimeError):
    """There is no Postgres at the address, it does not let us in, or it is not ours to use as it is."""


class MigrationFailed(RuntimeError):
    """The schema was left as it was, or at the last migration that went through; the message says why."""


class MigrationBlocked(MigrationFailed):
    """Somebody else holds what a migration needs; trying again later may help."""


def upgrade(database_url: str, revision: str = "head", *, wait_seconds: float = 0.0) -> None:
    """Run every missing migration, each in its own transaction; nothing happens when none is missing.

    Args:
        wait_seconds: For how long a migration that was blocked is tried again; 0 tries once.

    Raises:
        MigrationBlocked: Other transactions stand in the way.
        MigrationFailed: The schema is a newer release's.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            with connected(database_url) as connection:
                if revision == "head" and is_current(connection):
                    return
                connection.rollback()
                take_lock(connection)
                upgrade_on(connection, revision)
                return
        except MigrationBlocked:
            if time.monotonic() >= deadline:
                raise
        time.sleep(min(RETRY_SECONDS, max(0.0, deadline - time.monotonic())))


def take_lock(connection: Connection, *, shared: bool = False) -> None:
    """Keep migrations away until the connection ends: a session's lock, which outlives transactions.

    Args:
        shared: Beside others who share it, but not beside a migration.

    Raises:
        MigrationBlocked: Somebody else held it for a minute.
    """
    take = func.pg_advisory_lock_shared if shared else func.pg_advisory_lock
    connection.execute(text(f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'"))
    try:
        connection.execute(select(take(MIGRATION_LOCK)))
    except OperationalError as error:
        connection.rollback()
        if not isinstance(error.orig, _GAVE_UP):
            raise
        raise MigrationBlocked(
            "another migration, a backup or a restore is at work on this database; try again when it has ended"
        ) from None
    connection.execute(text("SET lock_timeout = DEFAULT"))
    connection.commit()


def upgrade_on(connection: Connection, revision: str = "head") -> None:
    """The same on a connection that holds the lock."""
    newer = sorted(revisions_of(connection) - known_revisions().known)
    connection.rollback()
    if newer:
        raise MigrationFailed(
            f"the database has schema {newer[0]}, which this release does not know: a newer one made it. There is no "
            "way back but a backup; this release's `serve` and `worker` still work on the schema of the next one"
        )
    try:
        command.upgrade(_configuration(connection), revision)
    except OperationalError as error:
        connection.rollback()
        if not isinstance(error.orig, _GAVE_UP):
            raise
        at = ", ".join(sorted(revisions_of(connection))) or "nothing"
        raise MigrationBlocked(
            f"a migration after schema {at} gave up ({_first_line(error.orig)}) and changed nothing; "
            f"run it again, or let it try for longer with --wait. {_in_the_way(connection)}"
        ) from error


def check(database_url: str) -> None:
    """Compare the tables as the service declares them with the database.

    Raises:
        alembic.util.CommandError: They differ; the message lists how.
    """
    with connected(database_url) as connection:
        command.check(_configuration(connection))


def is_current(connection: Connection) -> bool:
    """Whether the database has exactly the schema of this release."""
    return revisions_of(connection) == known_revisions().heads


def knows(revision: str) -> bool:
    """Whether this release has that migration."""
    return revision in known_revisions().known


def require_current(database_url: str) -> None:
    """Raise DatabaseUnavailable unless the database can be reached and has exactly the schema of this release."""
    with connected(database_url) as connection:
        if not is_current(connection):
            raise DatabaseUnavailable("the schema is not this release's; run: truerun-server migrate")


def revisions_of(connection: Connection) -> frozenset[str]:
    """The revision of the database's schema; empty when it has none, several only if migrations went astray."""
    return frozenset(MigrationContext.configure(connection).get_current_heads())


class Revisions(NamedTuple):
    """The schemas that a release knows: every one, and the newest."""

    known: frozenset[str]
    heads: frozenset[str]


@functools.cache
def known_revisions() -> Revisions:
    """Those of this release."""
    script = ScriptDirectory(str(migrations_dir()))
    return Revisions(
        known=frozenset(each.revision for each in script.walk_revisions()),
        heads=frozenset(script.get_heads()),
    )


def migrations_dir() -> Path:
    """Where the migrations lie: inside an installed package, beside it in a clone."""
    package = Path(app.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


@contextlib.contextmanager
def connected(database_url: str) -> Iterator[Connection]:
    """A connection without the timeouts of `make_engine`: a migration sets its own."""
    engine = create_engine(
        make_url(database_url).set(drivername="postgresql+psycopg"), poolclass=pool.NullPool
    )
    try:
        connection = engine.connect()
    except OperationalError as error:
        # The driver's own words name host and user, and never the password.
        raise DatabaseUnavailable(f"the database cannot be reached: {error.orig}") from error
    with connection:
        yield connection


def _configuration(connection: Connection) -> Config:
    config = Config()
    # Alembic reads a percent sign in its settings as the start of a reference.
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _in_the_way(connection: Connection) -> str:
    """The transactions that have been open for longest, which are most likely what it waited for."""
    rows = connection.execute(
        text(
            """
            SELECT pid, coalesce(nullif(application_name, ''), usename, ''), state,
                   extract(epoch FROM clock_timestamp() - xact_start)::int
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
            ORDER BY xact_start, pid LIMIT 3
            """
        )
    ).all()
    connection.rollback()
    if not rows:
        return "Whoever stood in the way is gone."
    said = "; ".join(f"process {pid} ({name}, {state}) for {age} s" for pid, name, state, age in rows)
    return f"Open for longest: {said}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
