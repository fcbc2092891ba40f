"""Bring a database to the schema of this release, or say whether it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, func, make_url, pool, select
from sqlalchemy.exc import OperationalError

import app

# Any number, as long as it is always the same: two servers that start at once must not migrate at once.
MIGRATION_LOCK = 7_871_246_339


class DatabaseUnavailable(RuntimeError):
    """There is no Postgres at the address, it does not let us in, or it is not ours to use as it is."""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every missing migration, each in its own transaction; nothing happens when none is missing."""
    with _connected(database_url) as connection:
        # The lock belongs to the session, so it outlives each migration's transaction and ends with the connection.
        connection.execute(select(func.pg_advisory_lock(MIGRATION_LOCK)))
        connection.commit()
        command.upgrade(_configuration(connection), revision)


def check(database_url: str) -> None:
    """Compare the tables as the service declares them with the database.

    Raises:
        alembic.util.CommandError: They differ; the message lists how.
    """
    with _connected(database_url) as connection:
        command.check(_configuration(connection))


def is_current(connection: Connection) -> bool:
    """Whether the database has exactly the schema of this release."""
    heads = ScriptDirectory.from_config(_configuration(connection)).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


def require_current(database_url: str) -> None:
    """Raise DatabaseUnavailable unless the database can be reached and has exactly the schema of this release."""
    with _connected(database_url) as connection:
        if not is_current(connection):
            raise DatabaseUnavailable("the schema is not this release's; run: truerun-server migrate")


def migrations_dir() -> Path:
    """Where the migrations lie: inside an installed package, beside it in a clone."""
    package = Path(app.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _configuration(connection: Connection) -> Config:
    config = Config()
    # Alembic reads a percent sign in its settings as the start of a reference.
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextlib.contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    # Without the timeouts of `make_engine`: a migration sets its own.
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
