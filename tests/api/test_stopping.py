"""SIGTERM: what is acknowledged is stored, what is in hand is finished, and the process is gone in time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import psycopg

from tests.api.calling import a_post
from tests.api.processes import PATIENCE_SECONDS, ROOT, Served, served
from tests.api.test_pressure import held

# What is promised; the stop itself is set to less.
MOST_SECONDS = 10.0


@dataclass
class Ledger:
    """What the service has said of each post, kept by its clients."""

    acknowledged: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def post_until_gone(self, service: Served, run_id: str, *, wanted: int) -> None:
        """Post one after another until the service hangs up."""
        with service.client() as client:
            while True:
                evaluation_id = str(uuid4())
                try:
                    answer = client.put(f"/runs/{run_id}/evaluations/{evaluation_id}", json=a_post())
                except httpx.TransportError as error:
                    self.broken.append(repr(error))
                    return
                if answer.status_code == 201:
                    self.acknowledged.add(evaluation_id)
                else:
                    self.refused.append(answer.status_code)
                if len(self.acknowledged) >= wanted:
                    self.enough.set()


def open_run(service: Served, key: str = "run-1") -> str:
    with service.client() as client:
        answer = client.put(f"/projects/heights/runs/{key}", json={"attempt_id": str(uuid4())})
        return str(answer.raise_for_status().json()["run_id"])


def stored(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT id FROM evaluation")}


def test_under_load_everything_that_was_acknowledged_is_stored(database_url: str) -> None:
    ledger = Ledger()
    with served(database_url, rate_limit_per_second=0) as service, ThreadPoolExecutor(6) as pool:
        for number in range(6):
            run_id = open_run(service, f"run-{number % 3}")
            pool.submit(ledger.post_until_gone, service, run_id, wanted=40)
        assert ledger.enough.wait(PATIENCE_SECONDS)

        code, seconds = service.stop()
        log = service.log.read_text()

    assert code == 0, log
    assert seconds < MOST_SECONDS
    assert len(ledger.acknowledged) >= 40
    assert ledger.acknowledged <= stored(database_url)
    # Whoever was not served was hung up on or told so, and what he sent is not there by halves.
    assert len(ledger.broken) == 6
    assert set(ledger.refused) <= {503}
    assert "Traceback" not in log


def test_who_hangs_and_who_drips_do_not_keep_it_and_get_no_false_word(database_url: str) -> None:
    with served(
        database_url, stop_seconds=2, lock_timeout_seconds=600, statement_timeout_seconds=600
    ) as service:
        run_id = open_run(service)
        evaluation_id = str(uuid4())
        with held(database_url, run_id), ThreadPoolExecutor(1) as pool, service.client() as client:
            hanging = pool.submit(client.put, f"/runs/{run_id}/evaluations/{evaluation_id}", json=a_post())
            until(lambda: in_use(service) == 1)
            dripping, half, idle = service.connect(), service.connect(), service.connect()
            dripping.sendall(a_head(service, length=1000) + b'{"key"')
            half.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")

            code, seconds = service.stop()
            answer = hanging.result()
            log = service.log.read_text()
        for connection in (dripping, half, idle):
            connection.close()

    assert code == 0, log
    assert seconds < 2 + 3
    assert answer.status_code == 503
    assert "not known" in answer.json()["detail"]
    assert evaluation_id not in stored(database_url)


def test_what_is_in_hand_is_finished_while_new_connections_are_refused(database_url: str) -> None:
    with served(database_url, stop_seconds=8) as service:
        run_id = open_run(service)
        with ThreadPoolExecutor(2) as pool, service.client() as client:
            evaluation_id = str(uuid4())
            with held(database_url, run_id):
                waiting = pool.submit(
                    client.put, f"/runs/{run_id}/evaluations/{evaluation_id}", json=a_post()
                )
                until(lambda: in_use(service) == 1)
                stopping = pool.submit(service.stop)
                until(lambda: refuses(service))
                assert not waiting.done()
            answer = waiting.result()
            code, seconds = stopping.result()

    assert (answer.status_code, answer.headers["connection"]) == (201, "close")
    assert (code, seconds < MOST_SECONDS) == (0, True)
    assert evaluation_id in stored(database_url)


NEVER_ENDS = """
import signal, sys, time, anyio.to_thread
from app.api import serving

# As `truerun-server serve` has it: the signal that uvicorn raises again at the end shall not kill.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

def create():
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            for name in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{name}.complete"})
        else:
            print("asked", flush=True)
            await anyio.to_thread.run_sync(time.sleep, 600)
    return application

serving.serve(
    "__main__:create", host="127.0.0.1", port=int(sys.argv[1]), bound=None,
    trusted_proxies="", head_seconds=60, stop_seconds=1,
)
"""


def test_a_thread_that_never_comes_back_does_not_keep_the_process() -> None:
    from tests.supervisor.test_up import a_free_port

    port = a_free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", NEVER_ENDS, str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, ThreadPoolExecutor(1) as pool:
        pool.submit(ask_until_it_is_gone, f"http://127.0.0.1:{port}/", process)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"asked\n"

        process.terminate()
        began = time.monotonic()
        code = process.wait(PATIENCE_SECONDS)
        seconds = time.monotonic() - began
        said = process.stderr.read().decode()

    assert (code, seconds < 1 + 4) == (1, True)
    assert "did not come to an end" in said


def ask_until_it_is_gone(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            httpx.get(url, timeout=PATIENCE_SECONDS)
        except httpx.TransportError:
            time.sleep(0.05)


def a_head(service: Served, *, length: int) -> bytes:
    lines = [
        "POST /api/v1/projects HTTP/1.1",
        "host: truerun.test",
        f"authorization: Bearer {service.token}",
        "content-type: application/json",
        f"content-length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def in_use(service: Served) -> int:
    document = json.loads(httpx.get(f"{service.url}/readyz", timeout=PATIENCE_SECONDS).content)
    return int(document["connections"]["in_use"])


def refuses(service: Served) -> bool:
    try:
        service.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
