from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from app.db import Session
from app.db.projects import ProjectRow
from app.worker.loop import Worker
from tests.services.claims import BETTER, GOOD, a_suite, bootstrapping, posted, row_of
from tests.services.world import World, a_project, a_run
from tests.worker.owed import FakeSink, a_worker, claim, make_everything_due, owe, rows, work_until_idle


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def test_what_is_owed_is_delivered_once_and_in_order(world: World, project: ProjectRow) -> None:
    owe(world, project.id, *(str(i) for i in range(45)))
    sink = FakeSink()
    worker = a_worker(world, sink)

    work_until_idle(worker)
    work_until_idle(worker)

    assert sink.texts == [str(i) for i in range(45)]
    assert all(row.delivered_at is not None and row.attempts == 1 for row in rows(world))


def test_a_failed_delivery_is_tried_again_and_only_its_own_order_waits(
    world: World, project: ProjectRow
) -> None:
    failing = {"a1"}
    sink = FakeSink(fails=lambda message: message.payload["text"] in failing)
    worker = a_worker(world, sink)
    owe(world, project.id, "a1", "a2", key="a")
    owe(world, project.id, "b1", "b2", key="b")

    work_until_idle(worker)
    first = list(sink.texts)
    failing.clear()
    work_until_idle(worker)
    still_waiting = list(sink.texts)
    make_everything_due(world)
    work_until_idle(worker)

    assert first == still_waiting == ["b1", "b2"]
    assert sink.texts == ["b1", "b2", "a1", "a2"]
    assert [row.attempts for row in rows(world)] == [2, 1, 1, 1]
    assert rows(world)[0].last_error == "ConnectionError: no answer to a1"


def test_after_ten_tries_a_message_is_buried_and_the_next_goes_on(world: World, project: ProjectRow) -> None:
    sink = FakeSink(fails=lambda message: message.payload["text"] == "a1")
    worker = a_worker(world, sink)
    owe(world, project.id, "a1", "a2")

    for tries in range(1, 11):
        assert sink.texts == []
        work_until_idle(worker)
        assert rows(world)[0].attempts == tries
        make_everything_due(world)
    work_until_idle(worker)

    buried, delivered = rows(world)
    assert buried.buried_at is not None
    assert (buried.attempts, buried.last_error) == (10, "ConnectionError: no answer to a1")
    assert delivered.delivered_at is not None
    assert sink.texts == ["a2"]


def test_a_message_that_takes_its_worker_down_every_time_is_buried(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "deadly", "harmless")
    for _ in range(10):
        assert claim(world)
        make_everything_due(world)
    sink = FakeSink()

    work_until_idle(a_worker(world, sink))

    assert sink.texts == ["harmless"]
    assert rows(world)[0].last_error == "no worker survived delivering it"


class AwayDatabase:
    """Sessions that cannot be had for a while."""

    def __init__(self, worker: Worker) -> None:
        self._begin = worker.sessions.begin
        self.failures_left = 0

    @contextmanager
    def begin(self) -> Iterator[Session]:
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("the database is away")
        with self._begin() as session:
            yield session


def test_a_delivery_that_could_not_be_noted_is_noted_later_and_not_repeated(
    world: World, project: ProjectRow
) -> None:
    owe(world, project.id, "a1", "a2")
    worker = a_worker(world, FakeSink())
    away = AwayDatabase(worker)

    class SinkThatOutlivesTheDatabase(FakeSink):
        def deliver(self, message: Any) -> None:
            super().deliver(message)
            away.failures_left = 3

    sink = SinkThatOutlivesTheDatabase()
    worker.sessions, worker.sinks = away, {"log": sink}  # type: ignore[assignment]
    for _ in range(12):
        work_until_idle(worker)

    assert sink.texts == ["a1", "a2"]
    assert [row.attempts for row in rows(world)] == [1, 1]
    assert all(row.delivered_at is not None for row in rows(world))


def test_an_error_that_postgres_cannot_store_is_stored_without_what_it_cannot(
    world: World, project: ProjectRow
) -> None:
    class RudeSink(FakeSink):
        def deliver(self, message: Any) -> None:
            raise ValueError("bytes \0 and \ud800 halves" + "!" * 10_000 + "\nsecret second line")

    owe(world, project.id, "a1")

    work_until_idle(a_worker(world, RudeSink()))

    assert rows(world)[0].last_error.startswith("ValueError: bytes  and ? halves!!!")
    assert len(rows(world)[0].last_error) == 500
    assert rows(world)[0].lease_id is None


def test_whoever_stops_gives_back_what_was_not_tried(world: World, project: ProjectRow) -> None:
    for i in range(3):
        owe(world, project.id, f"{i}", key=f"run:{i}")
    sink = FakeSink()
    worker = a_worker(world, sink)
    stops = iter([False, True])

    worker.run(lambda: next(stops), lambda seconds: None)

    assert sink.texts == ["0"]
    assert [(row.attempts, row.lease_id) for row in rows(world)[1:]] == [(0, None)] * 2
    assert [row.delivered_at is not None for row in rows(world)] == [True, False, False]


def test_what_was_claimed_too_long_ago_is_given_back_rather_than_tried(
    world: World, project: ProjectRow
) -> None:
    owe(world, project.id, "a1")
    sink = FakeSink()
    worker = a_worker(world, sink, lease=timedelta(0))

    worker.step()

    assert sink.texts == []
    assert [(row.attempts, row.lease_id) for row in rows(world)] == [(0, None)]


def test_the_worker_judges_again_what_is_stale_and_tells_it(world: World, project: ProjectRow) -> None:
    a_suite(world)
    first = posted(world, a_run(world, "first").run_id, GOOD)
    second = posted(world, a_run(world, "second").run_id, BETTER)
    world.run(bootstrapping(first))
    sink = FakeSink()
    worker = a_worker(world, sink, rejudged_at_once=1)

    work_until_idle(worker)

    assert [row_of(world, project.id, each).judged_version for each in (first, second)] == [1, 1]
    judged = [m.payload for m in sink.taken if m.topic == "evaluation.judged"]
    assert [(m["evaluation"], m["assessment"], m["gate"]) for m in judged if m["assessment"] == 2] == sorted(
        [(str(first), 2, "open"), (str(second), 2, "open")]
    )


def test_a_step_that_fails_is_survived_with_growing_pauses(world: World, project: ProjectRow) -> None:
    worker = a_worker(world, FakeSink())
    away = AwayDatabase(worker)
    away.failures_left = 5
    worker.sessions = away  # type: ignore[assignment]
    pauses: list[float] = []
    stops = iter([False] * 6)

    worker.run(lambda: next(stops, True), pauses.append)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 0.5]
