"""A Postgres for every test session, a migrated database for each test that asks, and data directories for those that
start a Postgres themselves.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.db import migrate
from app.embedded import EmbeddedPostgres, embedded_postgres
from tests.leftovers import forget_spools

# A power cut in the middle of a test session costs nothing, so nothing waits for the disk.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # Its workers belong to the superuser: one that is just looking at a test's database keeps the test, which is no
    # superuser, from dropping it by force.
    "autovacuum": "off",
}


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """pytest's own. Clients that were killed in it leave journals in shared memory, which outlives it."""
    yield tmp_path
    forget_spools(tmp_path)


@pytest.fixture(scope="session")
def passable_tmp() -> Iterator[Path]:
    """A temporary directory that the user running Postgres may pass through; pytest's own is closed to all but us."""
    path = Path(tempfile.mkdtemp(prefix="truerun-tests-"))
    path.chmod(0o711)
    command = [sys.executable, str(Path(__file__).with_name("leftovers.py")), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield path
        forget_spools(path)
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
def database_url(
    postgres: EmbeddedPostgres, database_template: str, database_names: Iterator[str]
) -> Iterator[str]:
    """Address of a new database with the schema of this release and no rows."""
    name = next(database_names)
    _administer(postgres, f"create database {name} template {database_template}")
    yield postgres.url(name)
    _administer(postgres, f"drop database {name} with (force)")


@pytest.fixture
def empty_dir(passable_tmp: Path) -> Iterator[Path]:
    """A directory of the test's own, which the user running Postgres may pass through."""
    path = Path(tempfile.mkdtemp(dir=passable_tmp))
    path.chmod(0o711)
    yield path
    forget_spools(path)
    # At once, and not at the end of the session: what is gone soon enough never reaches the disk.
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def used_once(passable_tmp: Path) -> Path:
    """A data directory whose cluster was created and stopped; tests get copies, since creating takes a while."""
    path = passable_tmp / "used-once"
    with embedded_postgres(path, settings={"fsync": "off"}, durable=False):
        pass
    return path


@pytest.fixture
def data_dir(used_once: Path, empty_dir: Path) -> Path:
    copy = empty_dir / "data"
    copy_data_dir(used_once, copy)
    return copy


def copy_data_dir(source: Path, target: Path) -> None:
    target.mkdir()
    target.chmod(source.stat().st_mode)
    for part in source.iterdir():
        # Nobody writes to the binaries, so a second name for them will do. Python's own copying drops the owner.
        how = "-al" if part.name.startswith("postgres-") else "-a"
        subprocess.run(["cp", how, str(part), str(target)], check=True)


def _administer(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(statement)
