"""Evaluations and records on their way to the service while processes are killed at random, and started again."""

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psycopg

from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.embedded.processes import postmaster
from tests.faults import ledger as ledgers
from tests.faults.clients import PATIENCE_SECONDS, Client
from tests.faults.ledger import Ledger
from tests.faults.proxy import FaultProxy, a_proxy
from tests.faults.recovery import FairClock, a_fair_clock
from tests.faults.trainings import Trainings

ROOT = Path(__file__).parents[2]
SERVICE = ("-P", "-m", "app.cli", "serve")
# What is killed, and how often relative to the others.
KINDS = {"api": 4, "backend": 4, "postgres": 1, "trainer": 3, "worker": 1}


@dataclass
class Part:
    """A process of the service that is started again whenever it is gone."""

    command: Sequence[str]
    environ: dict[str, str]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
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


class Recovery(NamedTuple):
    """How long after a kill something was acknowledged that was sent after it.

    Args:
        seconds: By the wall.
        fair_seconds: By a clock that goes slower where others take the machine.
    """

    what: str
    seconds: float
    fair_seconds: float


@dataclass
class Storm:
    """The service in parts: two APIs, so that clients have somewhere to go, a worker, and a Postgres.

    Clients post evaluations to it directly; trainings log records to it through a proxy that does mischief.

    Args:
        recoveries: For each kill its kind, and how long until something was acknowledged that was sent after it.
    """

    postgres: EmbeddedPostgres
    apis: list[Part]
    worker: Part
    token: str
    draw: random.Random
    proxy: FaultProxy
    trainings: Trainings
    clock: FairClock
    kinds: Mapping[str, int] = field(default_factory=lambda: KINDS)
    ledger: Ledger = field(default_factory=Ledger)
    kills: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    _deck: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def keep_alive(self) -> None:
        """What a process manager does."""
        while not self._over.is_set():
            for part in (*self.apis, self.worker):
                part.keep()
            self.trainings.keep()
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
        """Kill something at random, and see when the service serves again."""
        what = self._next_kind()
        if not self._kill(what):
            return
        self.kills[what] += 1
        killed_at, began = time.monotonic(), self.clock.now()
        self.ledger.wait_for_answer(asked_after=killed_at)
        self.recoveries.append(Recovery(what, time.monotonic() - killed_at, self.clock.now() - began))

    def _next_kind(self) -> str:
        """As from a shuffled deck, so that no kind is left out however the seed falls."""
        if not self._deck:
            self._deck = [kind for kind, count in self.kinds.items() for _ in range(count)]
            self.draw.shuffle(self._deck)
        return self._deck.pop()

    def _kill(self, what: str) -> bool:
        if what == "api":
            return self.draw.choice(self.apis).kill()
        if what == "worker":
            return self.worker.kill()
        if what == "trainer":
            return self.trainings.kill()
        if what == "backend":
            return self._kill_backend()
        first = postmaster(self.postgres.data_dir)
        if first is None:
            return False
        first.kill()
        return True

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
        """Strike so many times, each after a few more posts have been acknowledged, or until something is wrong.

        In the end everybody has come to an end, and what trainings left behind was sent.
        """
        keeper = threading.Thread(target=self.keep_alive)
        clients = [threading.Thread(target=self._client(i).work) for i in range(4)]
        self.trainings.keep()
        keeper.start()
        for each in clients:
            each.start()
        try:
            while self.kills.total() < kills and not self._is_wrong():
                self.ledger.wait_for(self.draw.randint(0, 3))
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
            self.proxy.calm()
            self.trainings.end()
        left = self.trainings.sync(self.trainings.url)
        if left:
            self.ledger.is_wrong(left)

    def disagreements(self) -> list[str]:
        """Every way in which the database and what clients and trainings wrote down differ."""
        found = ledgers.disagreements(self.ledger, self.postgres.url())
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            return found + self.trainings.ledger.disagreements(connection)

    def _client(self, number: int) -> Client:
        return Client(
            f"client{number}",
            ports=[api.port for api in self.apis],
            token=self.token,
            draw=random.Random(self.draw.random()),
            ledger=self.ledger,
            is_over=self.is_over,
        )

    def _is_wrong(self) -> bool:
        return bool(self.ledger.wrong) or self.trainings.went_back()

    def is_over(self) -> bool:
        return self._over.is_set()


@contextmanager
def a_storm(
    postgres: EmbeddedPostgres,
    token: str,
    place: Path,
    *,
    seed: int,
    service: Sequence[str] = SERVICE,
    kinds: Mapping[str, int] = KINDS,
) -> Iterator[Storm]:
    """Args:
    service: What Python is told to run as the API.
    """
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")},
        "DATABASE_URL": postgres.url(),
        "TRUERUN_RATE_LIMIT_PER_SECOND": "0",
        "TRUERUN_LOG_LEVEL": "warning",
    }
    draw = random.Random(seed)
    apis = []
    for number in range(2):
        port = _a_free_port()
        apis.append(Part(service, environ | {"TRUERUN_PORT": str(port)}, place / f"api-{number}.log", port))
    worker = Part(["-P", "-m", "app.cli", "worker"], environ, place / "worker.log")
    ports = [api.port for api in apis]
    with a_proxy(ports, random.Random(draw.random())) as proxy, a_fair_clock() as clock:
        url = f"http://127.0.0.1:{proxy.port}"
        trainings = Trainings(place, url, token, random.Random(draw.random()))
        storm = Storm(postgres, apis, worker, token, draw, proxy, trainings, clock, kinds)
        try:
            yield storm
        finally:
            trainings.end()
            for part in (*apis, worker):
                part.kill()


def _a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
