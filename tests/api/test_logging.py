"""What the service writes down of a day with everything in it: ids, and never a secret or what was posted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.api.calling import a_post
from tests.api.processes import Served, served

PAYLOAD = "never-to-be-logged"
BAD_TOKEN = "trn_aaaaaaaa_" + "B" * 43


def a_day(service: Served, database_url: str) -> dict[str, Any]:
    """Something of everything; the ids that came out of it."""
    with service.client() as client, service.client(BAD_TOKEN) as nobody:
        run = client.put(
            "/projects/heights/runs/run-1",
            json={"attempt_id": str(uuid4()), "notes": PAYLOAD, "config": {PAYLOAD: PAYLOAD}},
            headers={"X-Request-Id": "given-by-caller"},
        ).json()
        path = f"/runs/{run['run_id']}/evaluations"
        posted, failed, slow = (str(uuid4()) for _ in range(3))
        body = a_post({PAYLOAD: 0.1, "b": 0.2}, info={"said": PAYLOAD})
        stored = client.put(f"{path}/{posted}", json=body)
        assert stored.status_code == 201, stored.text
        assert client.put(f"{path}/{uuid4()}", json={**body, "stage": 7, PAYLOAD: 1}).status_code == 422
        assert client.put(f"{path}/{posted}", json={**body, "stage": PAYLOAD}).status_code == 409
        assert client.get(f"/runs/{uuid4()}?token={BAD_TOKEN}").status_code == 404
        assert client.get(f"/{BAD_TOKEN}").status_code == 404
        assert nobody.get("/me").status_code == 401
        # An error of the database's own that quotes the row, and one that passes.
        meddle(
            database_url,
            "RAISE 'a defect' USING DETAIL = row_to_json(NEW)::text, HINT = row_to_json(NEW)::text",
        )
        assert client.put(f"{path}/{failed}", json=body).status_code == 500
        meddle(database_url, "RAISE 'full' USING ERRCODE = '53100', DETAIL = row_to_json(NEW)::text")
        assert client.put(f"{path}/{slow}", json=body).status_code == 503
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "ALTER TABLE evaluation ADD CONSTRAINT never CHECK (stage <> 'other') NOT VALID"
            )
            connection.execute("DROP TRIGGER meddle ON evaluation")
        # Postgres says "Failing row contains (…)".
        broken = client.put(f"{path}/{uuid4()}", json={**body, "stage": "other"})
        assert broken.status_code == 500
    with service.connect() as connection:
        connection.sendall(f"GET /{PAYLOAD} {BAD_TOKEN}\r\n\r\n".encode())
        connection.recv(1000)
    return {
        "run_id": run["run_id"],
        "run_token": run["run_token"],
        "posted": posted,
        "failed": failed,
        "slow": slow,
        "broken": broken.json()["request_id"],
    }


def meddle(database_url: str, does: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {does}; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE OR REPLACE TRIGGER meddle BEFORE INSERT ON evaluation "
            "FOR EACH ROW EXECUTE FUNCTION meddle()"
        )


@pytest.fixture(params=["json", "console"])
def day(request: pytest.FixtureRequest, database_url: str) -> Iterator[tuple[Served, dict[str, Any], str]]:
    """A service, what was done with it, and all it wrote from its first moment to its last."""
    with served(database_url, log_format=request.param, log_level="debug") as service:
        ids = a_day(service, database_url)
        assert service.stop()[0] == 0
        yield service, ids, service.log.read_text()


def test_no_secret_and_nothing_posted_is_ever_written(day: tuple[Served, dict[str, Any], str]) -> None:
    service, ids, log = day

    for secret in (service.token, ids["run_token"], BAD_TOKEN):
        # The part that opens something, without the prefix by which people tell tokens apart.
        assert secret.split("_", 2)[2] not in log
    assert PAYLOAD not in log
    assert "a defect" in log


@pytest.mark.parametrize("day", ["json"], indirect=True)
def test_every_line_is_one_object_with_a_time_a_level_and_an_event(
    day: tuple[Served, dict[str, Any], str],
) -> None:
    service, ids, log = day
    lines = [json.loads(line) for line in log.splitlines()]

    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    requests = [line for line in lines if line["event"] == "request"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", line["request_id"]) for line in requests)

    opened = next(line for line in requests if line["request_id"] == "given-by-caller")
    assert (opened["project"], opened["run_key"], opened["status"]) == ("heights", "run-1", 201)

    by_evaluation = {line["evaluation_id"]: line for line in requests if line.get("evaluation_id")}
    post = by_evaluation[ids["posted"]]
    assert post["run_id"] == ids["run_id"]
    assert post["token_prefix"] == "_".join(service.token.split("_")[:2])
    assert by_evaluation[ids["slow"]]["refused"] == "full"

    defects = [line for line in lines if line["event"] == "request_failed"]
    assert defects[0]["evaluation_id"] == ids["failed"]
    assert defects[1]["request_id"] == ids["broken"]
    assert "psycopg.errors.RaiseException: a defect" in defects[0]["exception"]
    assert "app/api/evaluations.py" in defects[0]["exception"]

    stranger = next(line for line in requests if line["status"] == 401)
    assert "token_prefix" not in stranger
    assert [line["event"] for line in lines if line["event"].startswith("api_")] == [
        "api_started",
        "api_stopped",
    ]


def test_lines_of_libraries_and_warnings_of_python_take_the_same_form(
    capfd: pytest.CaptureFixture[str],
) -> None:
    import subprocess
    import sys

    program = (
        "import logging, warnings; from app import logs; logs.configure(level='info', style='json'); "
        "logging.getLogger('uvicorn.error').error('from %s', 'uvicorn'); "
        "logging.getLogger('uvicorn.error').info('of no interest'); "
        "warnings.warn('old way'); "
        "logging.getLogger('some.library').info('in between')"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    lines = [json.loads(line) for line in said.splitlines()]

    assert [line["level"] for line in lines] == ["error", "warning", "info"]
    assert lines[0]["event"] == "from uvicorn"
    assert lines[0]["logger"] == "uvicorn.error"
    assert "old way" in lines[1]["event"]


def test_probes_that_find_all_well_are_not_worth_a_line(database_url: str) -> None:
    with served(database_url, log_format="json") as service:
        for path in ("/healthz", "/readyz", "/metrics", "/api/v1/me"):
            httpx.get(service.url + path)
        # A line is written after its answer has left.
        service.stop()
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]

    assert [line["route"] for line in lines if line["event"] == "request"] == ["/me"]


def test_the_start_of_a_service_that_may_forget_is_a_warning(database_url: str) -> None:
    with served(database_url, log_format="json", durability="waived") as service:
        httpx.get(f"{service.url}/healthz").raise_for_status()
        waived = [json.loads(line) for line in service.log.read_text().splitlines()]

    assert [line["level"] for line in waived if line["event"] == "durability_waived"] == ["warning"]
