"""Messages without content: one delivery settles all that were owed before it read the state."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.db import Session, outbox, session_factory
from app.db.outbox import ClaimedMessage, NewMessage, Topic
from app.db.projects import ProjectRow
from app.db.tables import project as project_table
from app.worker.lanes import Lane
from tests.services.world import NOW, World, a_project
from tests.worker.owed import FakeSink, a_sink, a_worker, claim, owe, rows, until, work_until_idle


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def owe_boards(world: World, project: UUID, *texts: str, key: str = "leaderboard:1:final") -> None:
    owe(world, project, *texts, key=key, topic=Topic.LEADERBOARD_CHANGED)


def test_fifty_quick_changes_are_one_delivery(world: World, project: ProjectRow) -> None:
    owe_boards(world, project.id, *(str(i) for i in range(50)))
    owe_boards(world, project.id, "another", key="leaderboard:2:final")
    sink = FakeSink()

    work_until_idle(a_worker(world, sink))

    assert sink.texts == ["0", "another"]
    assert all(row.delivered_at is not None for row in rows(world))


def test_messages_with_content_are_all_delivered(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "first", "second", key="leaderboard:1:final")
    sink = FakeSink()

    work_until_idle(a_worker(world, sink))

    assert sink.texts == ["first", "second"]


def test_what_changes_while_it_is_delivered_is_delivered_again(world: World, project: ProjectRow) -> None:
    class SinkInWhoseTimeTheWorldTurns(FakeSink):
        def deliver(self, message: ClaimedMessage) -> None:
            super().deliver(message)
            if len(self.taken) == 1:
                owe_boards(world, project.id, "later", "later still")

    owe_boards(world, project.id, "first", "second")
    sink = SinkInWhoseTimeTheWorldTurns()

    work_until_idle(a_worker(world, sink))

    assert sink.texts == ["first", "later"]
    assert all(row.delivered_at is not None for row in rows(world))


def test_other_sinks_and_projects_have_their_own(world: World, project: ProjectRow) -> None:
    a_sink(world, project.id, "second", kind="log")
    other = a_project(world, "other")
    for each in (project.id, other.id):
        owe_boards(world, each, "1", "2")
    sink = FakeSink()

    work_until_idle(a_worker(world, sink))

    assert sorted((m.project_id, m.sink, m.payload["text"]) for m in sink.taken) == sorted(
        [(project.id, "log", "1"), (project.id, "second", "1"), (other.id, "log", "1")]
    )


def test_who_lost_the_lease_settles_none_of_them(world: World, project: ProjectRow) -> None:
    owe_boards(world, project.id, "1", "2")
    (late,) = claim(world)
    also = world.run(lambda session: outbox.owed_like(session, late))
    world.run(lambda session: outbox.release(session, late))
    (taken,) = claim(world)

    assert not world.run(lambda session: outbox.mark_delivered(session, late, also=also))

    assert [row.delivered_at for row in rows(world)] == [None, None]
    assert world.run(lambda session: outbox.mark_delivered(session, taken, also=also, receipt="here"))
    assert [row.receipt for row in rows(world)] == ["here", "here"]


def test_the_last_delivery_shows_the_last_state_whoever_writes_meanwhile(
    world: World, project: ProjectRow
) -> None:
    """The state is the project's name: a number that every change raises in the transaction of its message."""
    changes, delivered = 100, []
    sessions = session_factory(world.engine)

    def change(session: Session, number: int) -> None:
        session.execute(update(project_table).values(name=str(number)))
        message = NewMessage(
            topic=Topic.LEADERBOARD_CHANGED, order_key="board", payload={"text": str(number)}
        )
        outbox.write(session, project_id=project.id, messages=[message], now=NOW)

    class Mirror:
        def deliver(self, message: ClaimedMessage) -> None:
            with sessions.begin() as session:
                delivered.append(int(session.execute(select(project_table.c.name)).scalar_one()))

    lane = Lane(sessions=sessions, kind="log", sink=Mirror(), slots=2, random=lambda: 0.0)
    stopped = threading.Event()
    thread = threading.Thread(target=lane.run, args=(stopped.is_set,))
    thread.start()

    for number in range(1, changes + 1):
        world.run(lambda session, number=number: change(session, number))
    until(lambda: all(row.delivered_at is not None for row in rows(world)))
    stopped.set()
    thread.join(60)

    assert delivered[-1] == changes
    assert delivered == sorted(delivered)
    assert len(delivered) < changes
