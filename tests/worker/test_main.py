"""The worker as a process: signals, sudden death, a database that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db import migrate
from app.db.tables import outbox_message
from app.embedded import embedded_postgres
from app.worker.main import run
from tests.services.world import World, a_project, a_world
from tests.worker.owed import FakeSink, a_worker, make_everything_due, owe, work_until_idle

ROOT = Path(__file__).parents[2]
# What it promises is two seconds; a busy machine may take longer, what hangs takes for ever.
PATIENCE_SECONDS = 30
# A worker whose sink says that it has begun with a message, and never comes to an end with "hangs".
SCRIPT = """
import sys, time
from app.worker.main import run

class Sink:
    def deliver(self, message):
        print("began", message.payload["text"], flush=True)
        if message.payload["text"] == "hangs":
            time.sleep(600)

run(sys.argv[1], sinks={"log": lambda sessions: Sink()})
print("ended", flush=True)
"""


@contextmanager
def a_process(database_url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, database_url],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for found in process.stdout:
        if found.strip() == line:
            return
    raise AssertionError(f"the worker ended without saying {line!r}")


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


def undelivered(world: World) -> int:
    query = select(outbox_message.c.id).where(outbox_message.c.delivered_at.is_(None))
    with world.transaction() as session:
        return len(session.execute(query).all())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_worker_when_what_it_has_in_hand_is_delivered(
    number: int, database_url: str
) -> None:
    with a_world(database_url) as world, a_process(database_url) as process:
        owe(world, a_project(world).id, "a1")
        read_until(process, "began a1")

        process.send_signal(number)

        assert process.wait(PATIENCE_SECONDS) == 0
        assert undelivered(world) == 0


def test_a_delivery_that_hangs_does_not_keep_the_worker_from_ending(database_url: str) -> None:
    with a_world(database_url) as world, a_process(database_url) as process:
        owe(world, a_project(world).id, "hangs", "next")
        read_until(process, "began hangs")

        process.send_signal(signal.SIGTERM)

        # The delivery itself never ends.
        assert process.wait(PATIENCE_SECONDS) == 0
        assert undelivered(world) == 2


def test_nothing_is_lost_when_a_worker_is_killed_in_the_middle(database_url: str) -> None:
    with a_world(database_url) as world:
        owe(world, a_project(world).id, "before", "hangs", "after")
        with a_process(database_url) as process:
            read_until(process, "began hangs")
            process.kill()
        sink = FakeSink()
        worker = a_worker(world, sink)

        work_until_idle(worker)
        while_leased = list(sink.texts)
        make_everything_due(world)
        work_until_idle(worker)

        assert while_leased == []
        assert sink.texts == ["hangs", "after"]
        assert [message.attempts for message in sink.taken] == [2, 1]
        assert undelivered(world) == 0


def test_a_restart_of_postgres_is_survived(
    tmp_path_factory: pytest.TempPathFactory, passable_tmp: Path
) -> None:
    place, sink, stop = passable_tmp / "restarted", FakeSink(), threading.Event()
    project: UUID
    with embedded_postgres(place, durable=False) as server:
        url = server.url()
        migrate.upgrade(url)
        with a_world(url) as world:
            project = a_project(world).id
            owe(world, project, "before")
        thread = threading.Thread(
            target=run, args=(url,), kwargs={"stop": stop, "sinks": {"log": lambda sessions: sink}}
        )
        thread.start()
        until(lambda: sink.texts == ["before"])
    time.sleep(1.0)

    with embedded_postgres(place, durable=False), a_world(url) as world:
        owe(world, project, "after")
        until(lambda: sink.texts == ["before", "after"])
        stop.set()
        thread.join(PATIENCE_SECONDS)

    assert not thread.is_alive()
