"""Clients that post, promote and invalidate while processes are killed at random, and started again."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.embedded.processes import postmaster
from tests.faults.ledger import Ledger

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
GROUPS = ("a", "b")


@dataclass
class Part:
    """A process of the service that is started again whenever it is gone."""

    command: list[str]
    environ: dict[str, str]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.cli", *self.command],
                cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def kill(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def keep(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()


@dataclass
class Storm:
    """The service in parts: two APIs, so that clients have somewhere to go, a worker, and a Postgres."""

    postgres: EmbeddedPostgres
    apis: list[Part]
    worker: Part
    token: str
    draw: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    kills: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    def keep_alive(self) -> None:
        """What a process manager does."""
        while not self._over.is_set():
            for part in (*self.apis, self.worker):
                part.keep()
            if not self.postgres.is_running():
                self._start_postgres()
            self._over.wait(0.05)

    def _start_postgres(self) -> None:
        """As often as it takes: what a killed server leaves behind may need a moment to be gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.postgres.start_again()
                return
            except EmbeddedPostgresError as error:
                if time.monotonic() > deadline:
                    self.ledger.is_wrong(f"Postgres does not start: {error}")
                    return
                time.sleep(0.2)

    def strike(self) -> None:
        """Kill something at random."""
        what = self.draw.choices(("api", "backend", "postgres", "worker"), (4, 4, 1, 1))[0]
        if what == "api":
            self.kills[what] += self.draw.choice(self.apis).kill()
        elif what == "worker":
            self.kills[what] += self.worker.kill()
        elif what == "postgres":
            first = postmaster(self.postgres.data_dir)
            if first is not None:
                first.kill()
                self.kills[what] += 1
        else:
            self.kills[what] += self._kill_backend()

    def _kill_backend(self) -> bool:
        try:
            with psycopg.connect(self.postgres.url(), autocommit=True, connect_timeout=5) as connection:
                rows = connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'truerun%' "
                    "AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY state, pid"
                ).fetchall()
            if not rows:
                return False
            os.kill(self.draw.choice(rows)[0], signal.SIGKILL)
        except (psycopg.OperationalError, ProcessLookupError):
            return False
        return True

    def run(self, kills: int) -> None:
        """Strike so many times, each after a few more posts have been acknowledged."""
        keeper = threading.Thread(target=self.keep_alive)
        clients = [threading.Thread(target=Client(self, i).work) for i in range(4)]
        keeper.start()
        for each in clients:
            each.start()
        try:
            while self.kills.total() < kills and not self.ledger.wrong:
                self.ledger.wait_for(self.draw.randint(1, 4))
                self.strike()
            # Everything that was begun comes to its end.
            self.ledger.wait_for(20)
        finally:
            self._over.set()
            for each in clients:
                each.join(PATIENCE_SECONDS)
            keeper.join(PATIENCE_SECONDS)
            for part in (*self.apis, self.worker):
                part.keep()
            if not self.postgres.is_running():
                self._start_postgres()

    def is_over(self) -> bool:
        return self._over.is_set()


class Client:
    """Asks until it is answered, as the product's own client does."""

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm, self.number = storm, number
        self.draw = random.Random(storm.draw.random())
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {storm.token}"}, timeout=20, trust_env=False
        )

    def work(self) -> None:
        try:
            count = 0
            while not self.storm.is_over():
                count += 1
                self._one_run(f"client{self.number}-{count}")
        except Exception as error:  # noqa: BLE001  a thread that ends silently would make the storm look calm
            self.storm.ledger.is_wrong(f"client {self.number}: {error!r}")
        finally:
            self.http.close()

    def _one_run(self, key: str) -> None:
        opened = self.ask("PUT", f"/projects/storm/runs/{key}", {"attempt_id": str(uuid4())})
        evaluation = str(UUID(int=self.draw.getrandbits(128), version=4))
        groups = {group: self.draw.uniform(0.05, 0.2) for group in GROUPS}
        self._post(opened["run_id"], evaluation, groups)
        dice = self.draw.random()
        if dice < 0.4:
            self._crown(evaluation)
        elif dice < 0.6:
            self.ask("POST", f"/runs/{opened['run_id']}/invalidate", {"reason": "a storm"})
            self.storm.ledger.was_marked()
            if self.draw.random() < 0.5:
                self.ask("POST", f"/runs/{opened['run_id']}/restore", {"reason": "it is over"})

    def _post(self, run_id: str, evaluation: str, groups: dict[str, float]) -> None:
        path = f"/runs/{run_id}/evaluations/{evaluation}"
        body = {"suite": "s", "metrics": {"mse": "lower"}, "values": _values(groups)}
        self.storm.ledger.will_send(evaluation, groups)
        self.ask("PUT", path, body)
        self.storm.ledger.was_acknowledged(evaluation)
        dice = self.draw.random()
        if dice < 0.2:
            self.ask("PUT", path, body, expect=(200,))
        elif dice < 0.3:
            other = body | {"values": _values({group: value + 1 for group, value in groups.items()})}
            self.ask("PUT", path, other, expect=(409,))

    def _crown(self, evaluation: str) -> None:
        """By compare-and-swap, so that an answer that was lost is found again by looking."""
        seat = self.ask("GET", "/projects/storm/suites/s/baseline")
        kind = "bootstrap" if seat["version"] == 0 else "override"
        version = seat["version"]
        body = {
            "kind": kind,
            "evaluation": evaluation,
            "expected_version": version,
            "reason": "a storm",
        }
        events = "/projects/storm/suites/s/baseline/events"
        answer = self.ask("POST", events, body, expect=(201, 409))
        if answer.get("version") != version + 1:
            # Somebody was quicker, or it was ourselves and the answer was lost: the events know.
            items = self.ask("GET", f"{events}?limit=200")["items"]
            mine = [each for each in items if each["evaluation"] == evaluation]
            if not any((each["version"], each["kind"]) == (version + 1, kind) for each in mine):
                return
        self.storm.ledger.was_moved(version + 1, kind, evaluation)

    def ask(
        self, method: str, path: str, body: object = None, *, expect: tuple[int, ...] = (200, 201)
    ) -> dict[str, Any]:
        """Again and again until there is an answer; a refusal that must not be is written down."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            part = self.draw.choice(self.storm.apis)
            try:
                answer = self.http.request(method, f"http://127.0.0.1:{part.port}/api/v1{path}", json=body)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code in (502, 503, 504):
                time.sleep(0.05)
                continue
            if answer.status_code not in expect:
                self.storm.ledger.is_wrong(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            document: dict[str, Any] = answer.json()
            return document
        raise TimeoutError(f"{method} {path} was not answered within {PATIENCE_SECONDS} s")


def _values(groups: dict[str, float]) -> list[dict[str, object]]:
    return [{"metric": "mse", "group": group, "value": value, "n": 100} for group, value in groups.items()]


@contextmanager
def a_storm(postgres: EmbeddedPostgres, token: str, place: Path, *, seed: int) -> Iterator[Storm]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")},
        "DATABASE_URL": postgres.url(),
        "TRUERUN_RATE_LIMIT_PER_SECOND": "0",
        "TRUERUN_LOG_LEVEL": "warning",
    }
    apis = []
    for number in range(2):
        port = _a_free_port()
        apis.append(Part(["serve"], environ | {"TRUERUN_PORT": str(port)}, place / f"api-{number}.log", port))
    worker = Part(["worker"], environ, place / "worker.log")
    storm = Storm(postgres, apis, worker, token, random.Random(seed))
    try:
        yield storm
    finally:
        for part in (*apis, worker):
            part.kill()


def _a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
