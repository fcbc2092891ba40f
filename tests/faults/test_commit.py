"""A backend killed inside COMMIT: never acknowledged unless stored, and the same request again settles it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from app.db import migrate
from app.embedded import EmbeddedPostgres, embedded_postgres
from tests.api.calling import a_post
from tests.api.processes import Served, served
from tests.api.test_stopping import open_run

PATIENCE_SECONDS = 60
# Before the commit is in the log: a deferred trigger waits for somebody who never comes.
WAIT_BEFORE = """
    CREATE FUNCTION wait_for_ever() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER wait_for_ever AFTER INSERT ON evaluation
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_ever();
"""


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """One of the test's own, since it is going to be harmed."""
    with embedded_postgres(data_dir) as server:
        migrate.upgrade(server.url())
        yield server


def ask(postgres: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    """As the superuser, outside any transaction."""
    with psycopg.connect(
        host=str(postgres.socket_dir), user="postgres", dbname="truerun", autocommit=True
    ) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def backend_waiting_for(postgres: EmbeddedPostgres, event: str) -> int | None:
    rows = ask(
        postgres,
        f"SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'truerun%' AND wait_event = '{event}'",
    )
    return int(str(rows[0][0])) if rows else None


def how_often_stored(postgres: EmbeddedPostgres, evaluation_id: str) -> dict[str, int]:
    return {
        table: int(
            str(ask(postgres, f"SELECT count(*) FROM {table} WHERE {column} = '{evaluation_id}'")[0][0])
        )
        for table, column in (
            ("evaluation", "id"),
            ("evaluation_value", "evaluation_id"),
            ("assessment", "evaluation_id"),
        )
    }


def post(service: Served, run_id: str, evaluation_id: str) -> httpx.Response:
    with service.client() as client:
        return client.put(f"/runs/{run_id}/evaluations/{evaluation_id}", json=a_post())


@pytest.mark.parametrize(
    ("reaches_the_log", "how", "at_once"),
    [
        pytest.param(
            False, "kill", {"evaluation": 0, "evaluation_value": 0, "assessment": 0}, id="before, killed"
        ),
        pytest.param(
            False, "terminate", {"evaluation": 0, "evaluation_value": 0, "assessment": 0}, id="before, ended"
        ),
        pytest.param(
            True, "kill", {"evaluation": 1, "evaluation_value": 2, "assessment": 1}, id="after, killed"
        ),
        pytest.param(
            True, "terminate", {"evaluation": 1, "evaluation_value": 2, "assessment": 1}, id="after, ended"
        ),
    ],
)
def test_a_commit_that_is_cut_off_is_never_acknowledged_and_is_settled_by_the_same_request(
    postgres: EmbeddedPostgres, reaches_the_log: bool, how: str, at_once: dict[str, int]
) -> None:
    evaluation_id = str(uuid4())
    holder = psycopg.connect(postgres.url(), autocommit=True)
    with served(postgres.url(), durability="required") as service, ThreadPoolExecutor(1) as pool:
        run_id = open_run(service)
        if reaches_the_log:
            # The commit is in the log, and waits for a second server that does not exist.
            ask(postgres, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            ask(postgres, "SELECT pg_reload_conf()")
            until(lambda: ask(postgres, "SHOW synchronous_standby_names") == [("nobody",)])
        else:
            ask(postgres, WAIT_BEFORE)
            holder.execute("SELECT pg_advisory_lock(4711)")

        pending = pool.submit(post, service, run_id, evaluation_id)
        event = "SyncRep" if reaches_the_log else "advisory"
        until(lambda: backend_waiting_for(postgres, event))
        pid = backend_waiting_for(postgres, event)
        if how == "kill":
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        else:
            ask(postgres, f"SELECT pg_terminate_backend({pid})")
        cut_off = pending.result(PATIENCE_SECONDS)

        holder.close()
        until(lambda: _answers(postgres))
        found = how_often_stored(postgres, evaluation_id)
        if reaches_the_log:
            ask(postgres, "ALTER SYSTEM RESET synchronous_standby_names")
            ask(postgres, "SELECT pg_reload_conf()")
        until(lambda: httpx.get(f"{service.url}/readyz", timeout=PATIENCE_SECONDS).status_code == 200)
        again = post(service, run_id, evaluation_id)
        once_more = post(service, run_id, evaluation_id)

    assert cut_off.status_code == 503, cut_off.text
    assert "nothing was stored" not in cut_off.json()["detail"]
    assert found == at_once
    assert (again.status_code, once_more.status_code) == (200 if reaches_the_log else 201, 200)
    assert how_often_stored(postgres, evaluation_id) == {
        "evaluation": 1,
        "evaluation_value": 2,
        "assessment": 1,
    }


def _answers(postgres: EmbeddedPostgres) -> bool:
    try:
        ask(postgres, "SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
