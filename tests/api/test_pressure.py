"""More requests than connections, locks that are held, statements that take long: a 503 soon, and then all is well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.api.calling import Caller, a_post, a_run, an_admin
from tests.api.recording import opened, points, send

PATIENCE_SECONDS = 30


@contextmanager
def held(database_url: str, run_id: str) -> Iterator[None]:
    """Somebody holds the run's row for the length of the block."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT 1 FROM run WHERE id = %s FOR UPDATE", [run_id])
        yield
        connection.rollback()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def post(caller: Caller, run_id: str) -> httpx.Response:
    return caller.send("PUT", f"/runs/{run_id}/evaluations/{uuid4()}", a_post())


def connections(caller: Caller) -> dict[str, int]:
    shown: dict[str, int] = caller.send("GET", "/readyz").json()["connections"]
    return shown


def test_when_every_connection_is_in_use_the_next_is_told_soon_and_health_still_answers(
    database_url: str,
) -> None:
    with (
        an_admin(database_url, database_connections=2, database_wait_seconds=0.3) as admin,
        ThreadPoolExecutor(2) as pool,
    ):
        run_id = a_run(admin)
        with held(database_url, run_id):
            waiting: list[Future[httpx.Response]] = [pool.submit(post, admin, run_id) for _ in range(2)]
            until(lambda: connections(admin)["in_use"] == 2)

            refused = post(admin, run_id)
            ready = admin.send("GET", "/readyz").status_code
            metrics = admin.send("GET", "/metrics").text

        served = [each.result().status_code for each in waiting]
        again = post(admin, run_id).status_code

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "2 connections" in refused.json()["detail"]
    assert ready == 200
    assert "truerun_database_connections_in_use 2.0" in metrics
    assert "truerun_database_connections_most 2.0" in metrics
    assert 'truerun_http_refused_total{cause="busy"} 1.0' in metrics
    assert (served, again) == ([201, 201], 201)


def test_many_more_requests_than_connections_and_threads_all_come_through(database_url: str) -> None:
    with an_admin(database_url, database_connections=2, database_wait_seconds=30) as admin:
        run_id = a_run(admin)

        async def ask_all() -> list[int]:
            import asyncio

            headers = {"Authorization": f"Bearer {admin.token}"}
            asked = [admin.client.get(f"/api/v1/runs/{run_id}", headers=headers) for _ in range(120)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

        assert admin.portal.call(ask_all) == [200] * 120


def test_a_lock_that_is_not_given_up_is_a_503_that_says_so(database_url: str) -> None:
    with an_admin(database_url, lock_timeout_seconds=0.2) as admin:
        run_id = a_run(admin)
        with held(database_url, run_id):
            refused = post(admin, run_id)
        again = post(admin, run_id)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "another request holds" in refused.json()["detail"]
    assert again.status_code == 201


def test_records_whose_stream_another_request_holds_are_a_503_that_says_so(database_url: str) -> None:
    with an_admin(database_url, lock_timeout_seconds=0.2) as admin:
        admin.post("/projects", {"key": "burgers"})
        run_id, _ = opened(admin)
        send(admin, run_id, points(loss=[1.0]))
        with psycopg.connect(database_url) as connection:
            connection.execute("SELECT 1 FROM stream FOR UPDATE")
            refused = send(admin, run_id, points(1, loss=[2.0]), status=503)
        again = send(admin, run_id, points(1, loss=[2.0]))

    assert "another request holds" in refused["detail"]
    assert again["next_idx"] == 2


SQLSTATES = {
    "40P01": "got in each other's way",
    "40001": "got in each other's way",
    "55P03": "another request holds",
    "57014": "took too long",
    "53100": "disk is full",
    "53300": "no connection free",
    "25006": "takes no writes",
}


@pytest.mark.parametrize(("state", "said"), SQLSTATES.items(), ids=SQLSTATES)
def test_what_passes_by_itself_is_a_503_with_its_own_words_and_nothing_is_stored(
    admin: Caller, database_url: str, state: str, said: str
) -> None:
    run_id = a_run(admin)
    on_insert(database_url, f"RAISE 'as if' USING ERRCODE = '{state}'")

    response = post(admin, run_id)

    assert response.status_code == 503, response.text
    # What is slow by itself would be slow again: its sender shall not hold back what comes after it.
    assert ("retry-after" in response.headers) == (state != "57014")
    assert said in response.json()["detail"]
    assert "nothing was stored" in response.json()["detail"]
    assert admin.get(f"/runs/{run_id}/evaluations")["items"] == []


def test_a_statement_that_takes_too_long_is_cut_off(database_url: str) -> None:
    with an_admin(database_url, statement_timeout_seconds=0.3) as admin:
        run_id = a_run(admin)
        on_insert(database_url, "PERFORM pg_sleep(60)")

        began = time.monotonic()
        response = post(admin, run_id)
        seconds = time.monotonic() - began

    assert response.status_code == 503
    assert "took too long" in response.json()["detail"]
    assert seconds < 10


def test_a_connection_lost_at_work_does_not_claim_that_nothing_was_stored(
    admin: Caller, database_url: str
) -> None:
    run_id = a_run(admin)
    on_insert(database_url, "PERFORM pg_terminate_backend(pg_backend_pid())")

    response = post(admin, run_id)

    assert response.status_code == 503
    assert "not known" in response.json()["detail"]
    assert "nothing was stored" not in response.json()["detail"]


def on_insert(database_url: str, does: str) -> None:
    """Let every evaluation that is stored do something first."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER meddle BEFORE INSERT ON evaluation FOR EACH ROW EXECUTE FUNCTION meddle()"
        )
