"""/readyz means it: whoever is sent here has evaluations kept, and is told soon when they would not be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from app.db import make_engine, migrate, session_factory
from app.db.migrate import Revisions
from app.db.schema_fit import schema_fit
from app.embedded import embedded_postgres
from app.main import create_app
from app.settings import Settings
from tests.api.calling import Caller, a_caller, an_admin
from tests.embedded.processes import postmaster

# Its fsync, full_page_writes and synchronous_commit are off, see tests/conftest.py.
CARELESS = ("fsync", "full_page_writes", "synchronous_commit")


def alter(database_url: str, setting: str) -> None:
    """Set something for every later connection to this database."""
    name = urlsplit(database_url).path.lstrip("/")
    execute(database_url, f'ALTER DATABASE "{name}" SET {setting}')


def execute(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement)


def readyz(caller: Caller) -> tuple[int, list[str], list[str]]:
    response = caller.with_token(None).send("GET", "/readyz")
    answer = response.json()
    assert (response.status_code == 200) == (answer["status"] == "ready") == (answer["problems"] == [])
    return response.status_code, answer["problems"], answer["warnings"]


def test_a_postgres_that_may_forget_is_refused_setting_by_setting_with_the_way_out(database_url: str) -> None:
    with an_admin(database_url, durability="required") as admin:
        status, problems, _ = readyz(admin)

    assert status == 503
    assert [problem.split()[0] for problem in problems] == list(CARELESS)
    assert all("may lose" in problem and "set" in problem for problem in problems)


def test_what_the_operator_has_waived_is_ready_and_shown(database_url: str) -> None:
    with an_admin(database_url, durability="waived") as admin:
        status, _, warnings = readyz(admin)

    assert status == 200
    assert [warning.split()[1] for warning in warnings] == list(CARELESS)
    assert all(warning.startswith("TRUERUN_DURABILITY=waived: ") for warning in warnings)


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [("on", False), ("remote_apply", False), ("remote_write", False), ("local", False), ("off", True)],
)
def test_what_counts_is_how_this_database_commits_and_not_how_the_server_does(
    database_url: str, value: str, is_refused: bool
) -> None:
    alter(database_url, f"synchronous_commit = {value}")

    with an_admin(database_url, durability="required") as admin:
        _, problems, _ = readyz(admin)

    assert any(problem.startswith("synchronous_commit is off") for problem in problems) == is_refused


def test_a_database_that_takes_no_writes_is_not_ready(admin: Caller, database_url: str) -> None:
    alter(database_url, "default_transaction_read_only = on")

    status, problems, _ = readyz(admin)

    assert status == 503
    assert "default_transaction_read_only" in problems[0]


def test_a_standby_is_not_ready(data_dir: Path) -> None:
    with embedded_postgres(data_dir, durable=False) as server:
        migrate.upgrade(server.url())
    cluster = data_dir / "cluster" / "data"
    standby = cluster / "standby.signal"
    standby.touch()
    os.chown(standby, cluster.stat().st_uid, cluster.stat().st_gid)

    with embedded_postgres(data_dir, durable=False) as server, a_service(server.url()) as nobody:
        status, problems, _ = readyz(nobody)

    assert status == 503
    assert "standby" in problems[0]


def test_an_empty_database_is_told_to_migrate(empty_database_url: str) -> None:
    with a_service(empty_database_url) as nobody:
        status, problems, _ = readyz(nobody)

    assert status == 503
    assert "truerun-server migrate" in problems[0]


def test_the_schema_of_an_older_release_is_told_to_migrate(database_url: str) -> None:
    known, heads = migrate.known_revisions()

    with a_session(database_url) as session:
        fit = schema_fit(session, code=Revisions(known | {"next"}, frozenset({"next"})))

    assert fit.problems == (
        f"the database has the schema of an older release ({', '.join(heads)}); run: truerun-server migrate",
    )


NEWER = "UPDATE alembic_version SET version_num = 'of-a-later-release'"


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE another (id int PRIMARY KEY)",
        "ALTER TABLE run ADD COLUMN more text",
        "ALTER TABLE run ADD COLUMN more text NOT NULL DEFAULT ''",
    ],
)
def test_a_newer_schema_that_has_only_added_is_ready_and_says_so(
    admin: Caller, database_url: str, change: str
) -> None:
    execute(database_url, NEWER)
    execute(database_url, change)

    status, _, warnings = readyz(admin)

    assert status == 200
    assert any("of-a-later-release" in warning and "upgrade this server" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE run RENAME COLUMN notes TO remarks", "run.notes is not there"),
        ("DROP TABLE check_result", "check_result.evaluation_id is not there"),
        ("ALTER TABLE run ADD COLUMN more text NOT NULL", "run.more insists on a value"),
    ],
)
def test_a_newer_schema_that_this_release_cannot_work_with_is_not_ready(
    admin: Caller, database_url: str, change: str, named: str
) -> None:
    execute(database_url, NEWER)
    execute(database_url, change)

    status, problems, _ = readyz(admin)

    assert status == 503
    assert named in problems[0]
    assert "run the release that made it" in problems[0]


def test_a_schema_that_somebody_changed_by_hand_is_not_ready(admin: Caller, database_url: str) -> None:
    execute(database_url, "ALTER TABLE run RENAME COLUMN notes TO remarks")

    status, problems, _ = readyz(admin)

    assert status == 503
    assert "run.notes is not there" in problems[0]
    assert "restore a backup" in problems[0]


def test_a_database_out_of_reach_is_said_soon_and_without_its_address() -> None:
    # 192.0.2.0/24 is for documentation: nobody answers there.
    with a_service("postgresql://ana:very-secret@192.0.2.1:5432/truerun") as nobody:
        began = time.monotonic()
        status, problems, _ = readyz(nobody)
        seconds = time.monotonic() - began

    assert status == 503
    assert len(problems) == 1
    assert not any(word in problems[0] for word in ("192.0.2.1", "ana", "very-secret"))
    assert seconds < 2.5


def test_a_postgres_that_hangs_is_said_soon_and_ready_again_when_it_goes_on(data_dir: Path) -> None:
    with embedded_postgres(data_dir, durable=False) as server:
        migrate.upgrade(server.url())
        with a_service(server.url()) as nobody:
            before = readyz(nobody)[0]
            first = postmaster(data_dir)
            assert first is not None
            os.kill(first.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                status, problems, _ = readyz(nobody)
                seconds = time.monotonic() - began
                alive = nobody.send("GET", "/healthz").status_code
            finally:
                os.kill(first.pid, signal.SIGCONT)
            after = readyz(nobody)[0]

    assert (before, status, after, alive) == (200, 503, 200, 200)
    assert seconds < 2.5
    assert "Postgres" in problems[0] or "reached" in problems[0]


@contextmanager
def a_service(database_url: str) -> Iterator[Caller]:
    """The service over that database, which need not be there, asked by nobody in particular."""
    with a_caller(create_app(Settings(database_url=database_url, durability="waived"))) as caller:
        yield caller


@contextmanager
def a_session(database_url: str) -> Iterator[object]:
    engine = make_engine(database_url)
    try:
        with session_factory(engine).begin() as session:
            yield session
    finally:
        engine.dispose()
