"""A Postgres for every test session and, for each test that asks, a migrated database of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.db import migrate
from app.embedded import EmbeddedPostgres, embedded_postgres

# A power cut in the middle of a test session costs nothing, so nothing waits for the disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@pytest.fixture(scope="session")
def passable_tmp() -> Iterator[Path]:
    """A temporary directory that the user running Postgres may pass through; pytest's own is closed to all but us."""
    path = Path(tempfile.mkdtemp(prefix="truerun-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres(passable_tmp: Path) -> Iterator[EmbeddedPostgres]:
    """One server for the whole session (for each worker of pytest-xdist), gone at its end."""
    with embedded_postgres(passable_tmp / "postgres", settings=FAST, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def database_template(postgres: EmbeddedPostgres) -> str:
    """Name of a database that has every migration and no rows; copying it takes milliseconds, migrating does not."""
    _administer(postgres, "create database template_migrated")
    migrate.upgrade(postgres.url("template_migrated"))
    return "template_migrated"


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres, database_names: Iterator[str]) -> Iterator[str]:
    """Address of a new database without any table."""
    name = next(database_names)
    _administer(postgres, f"create database {name}")
    yield postgres.url(name)
    _administer(postgres, f"drop database {name} with (force)")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, database_template: str, database_names: Iterator[str]) -> Iterator[str]:
    """Address of a new database with the schema of this release and no rows."""
    name = next(database_names)
    _administer(postgres, f"create database {name} template {database_template}")
    yield postgres.url(name)
    _administer(postgres, f"drop database {name} with (force)")


def _administer(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(statement)
