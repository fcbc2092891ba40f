from __future__ import annotations

import threading
import time
from collections import defaultdict
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from app.db import Session, outbox
from app.db.outbox import NewMessage, Topic
from app.db.projects import ProjectRow
from app.db.tables import outbox_message
from tests.services.world import NOW, World, a_project
from tests.worker.owed import claim, make_everything_due, owe, texts


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def test_only_the_first_of_each_order_is_claimed(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1", "a2", key="a")
    owe(world, project.id, "b1", "b2", key="b")

    assert sorted(texts(claim(world))) == ["a1", "b1"]
    assert claim(world) == []


def test_the_next_follows_when_the_first_is_delivered(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1", "a2", "a3")
    seen = []

    while messages := claim(world):
        (message,) = messages
        seen.append(message.payload["text"])
        assert world.run(lambda session, m=message: outbox.mark_delivered(session, m))

    assert seen == ["a1", "a2", "a3"]


def test_the_same_key_of_another_project_is_another_order(world: World, project: ProjectRow) -> None:
    other = a_project(world, "other")
    owe(world, project.id, "here")
    owe(world, other.id, "there")

    assert sorted(texts(claim(world))) == ["here", "there"]


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_fenced(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1", "a2")
    (late,) = claim(world, lease=timedelta(milliseconds=1))
    time.sleep(0.01)

    (again,) = claim(world)

    assert (late.id, late.attempts, again.id, again.attempts) == (again.id, 1, late.id, 2)
    assert late.lease_id != again.lease_id
    for settle in (
        lambda session: outbox.mark_delivered(session, late),
        lambda session: outbox.postpone(session, late, delay=timedelta(0), error="late"),
        lambda session: outbox.bury(session, late, error="late"),
        lambda session: outbox.release(session, late),
    ):
        assert not world.run(settle)
    assert world.run(lambda session: outbox.mark_delivered(session, again))
    assert not world.run(lambda session: outbox.mark_delivered(session, again))
    assert texts(claim(world)) == ["a2"]


def test_a_postponed_message_holds_up_its_own_order_only(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1", "a2", key="a")
    owe(world, project.id, "b1", "b2", key="b")
    for message in claim(world):
        if message.order_key == "a":
            call = lambda session, m=message: outbox.postpone(  # noqa: E731
                session, m, delay=timedelta(hours=1), error="no answer"
            )
        else:
            call = lambda session, m=message: outbox.mark_delivered(session, m)  # noqa: E731
        assert world.run(call)

    assert texts(claim(world)) == ["b2"]
    make_everything_due(world)
    assert sorted(texts(claim(world))) == ["a1", "b2"]


def test_a_buried_message_keeps_its_reason_and_blocks_nobody(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1", "a2")
    (message,) = claim(world)

    assert world.run(lambda session: outbox.bury(session, message, error="gone for good"))

    assert texts(claim(world)) == ["a2"]
    with world.transaction() as session:
        row = session.execute(select(outbox_message).order_by(outbox_message.c.id).limit(1)).one()
    assert row.buried_at is not None
    assert (row.last_error, row.delivered_at, row.lease_id) == ("gone for good", None, None)


def test_what_is_given_back_counts_as_not_tried(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1")
    (message,) = claim(world)

    world.run(lambda session: outbox.release(session, message))

    assert [again.attempts for again in claim(world)] == [1]


def test_unknown_kinds_and_disabled_sinks_are_left_alone(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "a1")

    assert claim(world, kinds=("wandb",)) == []
    with world.transaction() as session:
        session.execute(text("UPDATE sink SET enabled = false"))
    assert claim(world) == []
    owe(world, project.id, "a2")
    with world.transaction() as session:
        session.execute(text("UPDATE sink SET enabled = true"))
    assert texts(claim(world)) == ["a1"]
    with world.transaction() as session:
        assert len(session.execute(select(outbox_message)).all()) == 1


def test_messages_of_one_write_keep_their_order(world: World, project: ProjectRow) -> None:
    owe(world, project.id, *(str(i) for i in range(300)))

    with world.transaction() as session:
        rows = session.execute(select(outbox_message.c.payload).order_by(outbox_message.c.id)).scalars()
        assert [row["text"] for row in rows] == [str(i) for i in range(300)]


def test_a_message_of_a_transaction_that_failed_is_never_owed(world: World, project: ProjectRow) -> None:
    message = NewMessage(topic=Topic.RUN_VALIDITY, order_key="a", payload={"text": "never"})

    def fail_after_writing(session: Session) -> None:
        outbox.write(session, project_id=project.id, messages=[message], now=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.run(fail_after_writing)

    assert claim(world) == []


def test_many_claimers_deliver_everything_once_and_in_order(world: World, project: ProjectRow) -> None:
    keys, each = [f"run:{i}" for i in range(6)], 15
    for key in keys:
        owe(world, project.id, *(str(i) for i in range(each)), key=key)
    seen: dict[str, list[str]] = defaultdict(list)

    def claimer() -> None:
        idle = 0
        while idle < 3:
            messages = claim(world, limit=2)
            idle = 0 if messages else idle + 1
            for message in messages:
                seen[message.order_key].append(message.payload["text"])
                assert world.run(lambda session, m=message: outbox.mark_delivered(session, m))
            if not messages:
                time.sleep(0.05)

    threads = [threading.Thread(target=claimer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert seen == {key: [str(i) for i in range(each)] for key in keys}
