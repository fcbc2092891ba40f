"""Several workers over one outbox: nothing twice, nothing missing, whoever dies, stands still or hangs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.db.outbox import ClaimedMessage
from app.db.projects import ProjectRow
from app.db.tables import outbox_message
from app.worker.loop import Pace
from app.worker.main import run
from tests.api.calling import a_post, a_run, an_admin
from tests.services.world import World, a_project, a_world
from tests.worker.owed import FakeSink, a_worker, claim, owe, rows, until

ROOT = Path(__file__).parents[2]
# A worker that writes each delivery into a file, with a lease of so many seconds; "waits" takes until a file is there.
SCRIPT = """
import os, random, sys, time
from datetime import timedelta
from app.db import make_engine, session_factory
from app.worker.loop import Pace, Worker

database_url, file, lease = sys.argv[1:]

class Sink:
    def deliver(self, message):
        with open(file, "a") as out:
            out.write(f"{message.order_key} {message.payload['text']}\\n")
        while message.payload["text"] == "waits" and not os.path.exists(file + ".go"):
            time.sleep(0.01)

sessions = session_factory(make_engine(database_url, pool_size=2))
pace = Pace(lease=timedelta(seconds=float(lease)), poll_seconds=0.05)
Worker(sessions=sessions, sinks={"log": Sink()}, random=random.random, pace=pace).run(lambda: False, time.sleep)
"""


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


class Crew:
    """Worker processes; whoever is left at the end is killed."""

    def __init__(self, database_url: str, file: Path, lease: timedelta) -> None:
        self._arguments = [database_url, str(file), str(lease.total_seconds())]
        self.members: list[subprocess.Popen[bytes]] = []

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            command = [sys.executable, "-c", SCRIPT, *self._arguments]
            environ = os.environ | {"PYTHONPATH": str(ROOT)}
            self.members.append(subprocess.Popen(command, cwd=ROOT, env=environ))

    def kill_one(self, choice: random.Random) -> None:
        member = self.members.pop(choice.randrange(len(self.members)))
        member.kill()
        member.wait()


@contextmanager
def a_crew(database_url: str, file: Path, *, lease: timedelta) -> Iterator[Crew]:
    crew = Crew(database_url, file, lease)
    try:
        yield crew
    finally:
        for member in crew.members:
            member.kill()
            member.wait()


def delivered(world: World) -> int:
    query = select(func.count()).where(outbox_message.c.delivered_at.is_not(None))
    with world.transaction() as session:
        return session.execute(query).scalar_one()


def in_order_of_first_arrival(lines: Iterable[str]) -> dict[str, list[int]]:
    """The numbers that arrived by key, each once."""
    seen: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        key, number = line.split()
        if int(number) not in seen[key]:
            seen[key].append(int(number))
    return dict(seen)


def owe_many(world: World, project: ProjectRow, *, keys: int, each: int) -> dict[str, list[int]]:
    for i in range(keys):
        owe(world, project.id, *(str(number) for number in range(each)), key=f"run:{i}")
    return {f"run:{i}": list(range(each)) for i in range(keys)}


def test_six_workers_deliver_a_thousand_messages_once_each_and_in_order(
    world: World, project: ProjectRow
) -> None:
    wanted = owe_many(world, project, keys=40, each=25)
    sink, stopped = FakeSink(), threading.Event()
    workers = [a_worker(world, sink, poll_seconds=0.05) for _ in range(6)]
    threads = [threading.Thread(target=worker.run, args=(stopped.is_set, stopped.wait)) for worker in workers]

    for thread in threads:
        thread.start()
    try:
        until(lambda: delivered(world) == 1000, seconds=120)
    finally:
        stopped.set()
        for thread in threads:
            thread.join(60)

    assert len(sink.taken) == 1000
    assert in_order_of_first_arrival(f"{m.order_key} {m.payload['text']}" for m in sink.taken) == wanted
    assert all(row.attempts == 1 and row.lease_id is None for row in rows(world))


@dataclass(frozen=True)
class Size:
    workers: int
    keys: int
    each: int
    kills: int
    lease: timedelta


# As it is deployed, which takes a few leases; and for every day.
SIZE = (
    Size(workers=6, keys=40, each=25, kills=6, lease=Pace().lease)
    if os.environ.get("FAULTS_FULL")
    else Size(workers=3, keys=10, each=20, kills=3, lease=timedelta(seconds=3))
)


def test_whoever_is_killed_all_goes_on_within_half_a_minute(
    world: World, project: ProjectRow, database_url: str, tmp_path: Path
) -> None:
    choice, file = random.Random(7), tmp_path / "arrived"
    wanted = owe_many(world, project, keys=SIZE.keys, each=SIZE.each)
    total = SIZE.keys * SIZE.each
    with a_crew(database_url, file, lease=SIZE.lease) as crew:
        crew.add(SIZE.workers)
        for kill in range(1, SIZE.kills + 1):
            goal = total * kill // (SIZE.kills + 2)
            until(lambda goal=goal: delivered(world) >= goal, seconds=120)  # type: ignore[misc]
            time.sleep(choice.random() / 50)
            crew.kill_one(choice)
            crew.add(kill % 2)
        last_kill = time.monotonic()
        until(lambda: delivered(world) == total, seconds=120)
        took = time.monotonic() - last_kill

    lines = file.read_text().splitlines()
    print(f"{total} messages, {len(lines) - total} twice, the last of them {took:.1f} s after the last kill")
    assert in_order_of_first_arrival(lines) == wanted
    # Twice only what a worker had in its hands when it was killed.
    assert len(lines) <= total + SIZE.kills
    assert took < 30.0


def test_a_worker_that_stood_still_beyond_its_lease_cannot_mark_what_another_took_over(
    world: World, project: ProjectRow, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "arrived"
    owe(world, project.id, "waits", key="run:1")
    with a_crew(database_url, file, lease=timedelta(seconds=2)) as crew:
        crew.add()
        until(file.exists)
        (stopped,) = crew.members
        stopped.send_signal(signal.SIGSTOP)
        taken: list[ClaimedMessage] = []
        until(lambda: bool(taken.extend(claim(world, lease=timedelta(minutes=5))) or taken))

        (tmp_path / "arrived.go").touch()
        stopped.send_signal(signal.SIGCONT)
        # When it has come to the next one, it is done with the first.
        owe(world, project.id, "1", key="run:2")
        until(lambda: delivered(world) == 1)

    first, second = rows(world)
    assert (first.delivered_at, first.lease_id, first.attempts) == (None, taken[0].lease_id, 2)
    assert second.delivered_at is not None


def test_a_sink_that_hangs_slows_neither_the_api_nor_another_sink_nor_the_judging(
    database_url: str,
) -> None:
    hung, go, stop, log = threading.Semaphore(0), threading.Event(), threading.Event(), FakeSink()

    class HangingSink:
        def deliver(self, message: ClaimedMessage) -> None:
            hung.release()
            go.wait(120)

    makers = {"log": lambda sessions: log, "webhook": lambda sessions: HangingSink()}
    worker = threading.Thread(target=partial(run, database_url, stop=stop, sinks=makers))
    with an_admin(database_url) as admin, a_world(database_url) as world:
        run_id = a_run(admin)
        settings = {"url": "https://hooks.example.org/", "secret_env": "TRUERUN_SECRET_HOOK"}
        hooks = [{"name": f"hook-{i}", "kind": "webhook", "settings": settings} for i in range(2)]
        admin.put("/projects/heights/sinks", {"sinks": [{"name": "log", "kind": "log"}, *hooks]})
        admin.put(f"/runs/{run_id}/evaluations/01998f6e-3d6c-7b5e-8f4d-000000000000", a_post())
        worker.start()
        try:
            assert hung.acquire(timeout=60)
            assert hung.acquire(timeout=60)

            for i in range(1, 11):
                path = f"/runs/{run_id}/evaluations/01998f6e-3d6c-7b5e-8f4d-{i:012d}"
                assert admin.send("PUT", path, a_post()).status_code == 201
            until(lambda: all(row.delivered_at is not None for row in rows(world, "log")))

            assert all(row.delivered_at is None for row in rows(world, "hook-0") + rows(world, "hook-1"))
            # Nothing is open in the database while a sink is at work.
            idle = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'idle in transaction' AND state_change < now() - interval '5 s'"
            )
            with world.transaction() as session:
                assert session.execute(idle).scalar_one() == 0
        finally:
            go.set()
            stop.set()
            worker.join(60)
    assert not worker.is_alive()
