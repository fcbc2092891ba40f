"""Deliveries that take their time: beside each other, held while they last, given up when they never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from app.db import session_factory
from app.db.outbox import ClaimedMessage
from app.db.projects import ProjectRow
from app.db.tables import sink
from app.worker.lanes import Lane, LanePace
from app.worker.sinks import Delivered, Paused, Refused
from tests.services.world import World, a_project
from tests.worker.owed import FakeSink, a_sink, claim, make_everything_due, owe, rows, until


@pytest.fixture
def project(world: World) -> ProjectRow:
    """One whose only sinks are two webhooks."""
    project = a_project(world)
    world.run(lambda session: session.execute(text("DELETE FROM sink")))
    a_sink(world, project.id, "one", kind="webhook", url="https://one")
    a_sink(world, project.id, "two", kind="webhook", url="https://two")
    return project


@dataclass
class Receiver:
    """A sink that answers when it is let.

    Args:
        does: With a message that was let through.
    """

    does: Callable[[ClaimedMessage], Delivered | None] = lambda message: None
    begun: list[ClaimedMessage] = field(default_factory=list)
    ended: list[ClaimedMessage] = field(default_factory=list)
    _gates: dict[str, threading.Event] = field(default_factory=dict)

    def hold(self, *sinks: str) -> None:
        self._gates |= {each: threading.Event() for each in sinks}

    def let(self, sink: str) -> None:
        self._gates.pop(sink).set()

    def deliver(self, message: ClaimedMessage) -> Delivered | None:
        gate = self._gates.get(message.sink)
        self.begun.append(message)
        try:
            if gate is not None:
                assert gate.wait(60)
            return self.does(message)
        finally:
            self.ended.append(message)

    def texts(self, sink: str) -> list[str]:
        return [message.payload["text"] for message in self.begun if message.sink == sink]


def a_lane(world: World, receiver: Receiver, *, slots: int = 4, **pace: object) -> Lane:
    return Lane(
        sessions=session_factory(world.engine),
        kind="webhook",
        sink=receiver,
        slots=slots,
        random=lambda: 0.0,
        pace=LanePace(**pace),  # type: ignore[arg-type]
    )


def work_until(lane: Lane, holds: Callable[[], bool]) -> None:
    def steps_and_holds() -> bool:
        lane.step()
        return holds()

    until(steps_and_holds)


def everything_is_settled(world: World) -> bool:
    return all(row.delivered_at is not None or row.buried_at is not None for row in rows(world))


def test_each_sink_gets_all_of_it_in_order_and_one_at_a_time(world: World, project: ProjectRow) -> None:
    under_way: list[str] = []

    def receive(message: ClaimedMessage) -> Delivered:
        assert message.sink not in under_way
        under_way.append(message.sink)
        under_way.remove(message.sink)
        return Delivered(receipt=f"{message.settings['url']}/{message.payload['text']}")

    receiver = Receiver(does=receive)
    owe(world, project.id, "a1", "a2", key="a")
    owe(world, project.id, "b1", "b2", key="b")
    lane = a_lane(world, receiver)

    work_until(lane, lambda: everything_is_settled(world))

    for name in ("one", "two"):
        assert sorted(receiver.texts(name)) == ["a1", "a2", "b1", "b2"]
        assert [row.receipt for row in rows(world, name)] == [
            f"https://{name}/{each}" for each in ("a1", "a2", "b1", "b2")
        ]
        assert receiver.texts(name).index("a1") < receiver.texts(name).index("a2")
    assert all(row.attempts == 1 and row.last_error is None for row in rows(world))


def test_a_sink_that_hangs_takes_one_slot_and_holds_up_nobody(world: World, project: ProjectRow) -> None:
    receiver = Receiver()
    receiver.hold("one")
    for i in range(3):
        owe(world, project.id, str(i), key=f"run:{i}")
    lane = a_lane(world, receiver, slots=2)

    work_until(lane, lambda: all(row.delivered_at is not None for row in rows(world, "two")))

    assert receiver.texts("one") == ["0"]
    assert lane.left_behind == 1
    receiver.let("one")
    work_until(lane, lambda: everything_is_settled(world))
    assert receiver.texts("one") == ["0", "1", "2"]


def test_what_is_under_way_stays_ours_however_long_it_takes(world: World, project: ProjectRow) -> None:
    receiver = Receiver()
    receiver.hold("one", "two")
    owe(world, project.id, "a1")
    lane = a_lane(world, receiver, lease=timedelta(seconds=20))
    lane.step()
    first = [row.lease_until for row in rows(world)]
    # As if the lease had run out and nobody had come to take the message.
    make_everything_due(world)
    lane._renewed_at = 0.0

    lane.step()

    assert all(row.lease_until >= then for row, then in zip(rows(world), first, strict=True))
    assert claim(world, kinds=("webhook",)) == []
    receiver.let("one")
    receiver.let("two")
    work_until(lane, lambda: everything_is_settled(world))
    assert [row.attempts for row in rows(world)] == [1, 1]


def test_what_another_worker_took_over_is_its_own_to_mark(world: World, project: ProjectRow) -> None:
    receiver = Receiver()
    receiver.hold("one", "two")
    owe(world, project.id, "a1")
    lane = a_lane(world, receiver)
    lane.step()
    make_everything_due(world)
    taken = claim(world, kinds=("webhook",))
    lane._renewed_at = 0.0

    lane.step()
    receiver.let("one")
    receiver.let("two")
    work_until(lane, lambda: lane.left_behind == 0)

    assert len(taken) == 2
    assert [row.lease_id for row in rows(world)] == [taken[0].lease_id] * 2
    assert [row.delivered_at for row in rows(world)] == [None, None]


def test_a_delivery_that_never_ends_counts_as_failed_and_can_mark_nothing_any_more(
    world: World, project: ProjectRow
) -> None:
    receiver = Receiver()
    receiver.hold("one")
    owe(world, project.id, "a1", "a2")
    lane = a_lane(world, receiver, longest=timedelta(0))
    lane.step()
    until(lambda: len(receiver.ended) == 1)

    work_until(lane, lambda: lane.left_behind == 0 and rows(world, "one")[0].attempts == 1)
    failed = rows(world, "one")[0]
    receiver.let("one")
    until(lambda: any(message.sink == "one" for message in receiver.ended))
    lane.step()

    assert (failed.last_error, failed.lease_id) == ("TimeoutError: no end within 0 s", None)
    assert rows(world, "one")[0].delivered_at is None


def test_a_paused_sink_is_left_alone_and_its_message_counts_as_not_tried(
    world: World, project: ProjectRow
) -> None:
    def refuse_the_key(message: ClaimedMessage) -> None:
        if message.sink == "one" and not receiver.texts("one")[1:]:
            raise Paused("401: unknown key", timedelta(hours=1))

    receiver = Receiver(does=refuse_the_key)
    owe(world, project.id, "a1", key="a")
    owe(world, project.id, "b1", key="b")
    lane = a_lane(world, receiver)

    work_until(lane, lambda: all(row.delivered_at is not None for row in rows(world, "two")))
    work_until(lane, lambda: lane.left_behind == 0)
    lane.step()

    assert receiver.texts("one") == ["a1"]
    assert [(row.attempts, row.lease_id, row.buried_at) for row in rows(world, "one")] == [
        (0, None, None)
    ] * 2
    with world.transaction() as session:
        paused = session.execute(select(sink).where(sink.c.name == "one")).one()
        session.execute(text("UPDATE sink SET paused_until = now()"))
    assert paused.paused_because == "401: unknown key"
    work_until(lane, lambda: everything_is_settled(world))
    assert receiver.texts("one") == ["a1", "a1", "b1"]


def test_what_can_never_work_is_buried_at_once_with_the_reason(world: World, project: ProjectRow) -> None:
    def refuse(message: ClaimedMessage) -> None:
        if message.payload.get("text") == "a1":
            raise Refused("the suite is gone")

    owe(world, project.id, "a1", "a2")
    lane = a_lane(world, Receiver(does=refuse))

    work_until(lane, lambda: everything_is_settled(world))

    for name in ("one", "two"):
        # The other sink's trouble is told to this one.
        first, second, told = rows(world, name)
        assert (first.attempts, first.last_error) == (1, "the suite is gone")
        assert first.buried_at is not None
        assert second.delivered_at is not None
        assert told.topic == "sink.stuck"


def test_a_failed_delivery_is_tried_again_later(world: World, project: ProjectRow) -> None:
    def stumble(message: ClaimedMessage) -> None:
        if message.attempts == 1:
            raise ConnectionError("no route")

    owe(world, project.id, "a1")
    lane = a_lane(world, Receiver(does=stumble))
    work_until(lane, lambda: all(row.last_error for row in rows(world)))
    assert {row.last_error for row in rows(world)} == {"ConnectionError: no route"}

    make_everything_due(world)
    work_until(lane, lambda: everything_is_settled(world))

    assert [row.attempts for row in rows(world)] == [2, 2]


def test_whoever_stops_writes_down_what_ends_in_time_and_leaves_the_rest(
    world: World, project: ProjectRow
) -> None:
    receiver, stopped = Receiver(), threading.Event()
    receiver.hold("one", "two")
    owe(world, project.id, "a1", "a2")
    lane = a_lane(world, receiver)
    thread = threading.Thread(target=lane.run, args=(stopped.is_set,))
    thread.start()
    until(lambda: len(receiver.begun) == 2)

    stopped.set()
    receiver.let("one")
    thread.join(60)

    assert not thread.is_alive()
    assert [row.delivered_at is not None for row in rows(world, "one")] == [True, False]
    assert [row.lease_id is not None for row in rows(world, "two")] == [True, False]
    receiver.let("two")


def test_a_pause_of_no_time_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="some time"):
        Paused("soon", timedelta(0))


def test_other_kinds_are_left_alone(world: World, project: ProjectRow) -> None:
    a_sink(world, project.id, "log")
    owe(world, project.id, "a1")
    lane, other = a_lane(world, Receiver()), FakeSink()

    work_until(lane, lambda: len([row for row in rows(world) if row.delivered_at]) == 2)

    assert rows(world, "log")[0].delivered_at is None
    assert other.texts == []
