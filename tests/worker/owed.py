"""Messages that are owed, and sinks that take them, for tests of the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text

from app.db import outbox, session_factory
from app.db.outbox import ClaimedMessage, NewMessage, Topic
from app.db.tables import outbox_message, sink
from app.worker.loop import Pace, Worker
from tests.services.world import NOW, World

MINUTE = timedelta(minutes=1)


@dataclass
class FakeSink:
    """Keeps what it is given.

    Args:
        fails: Says of a message whether it is refused.
    """

    fails: Callable[[ClaimedMessage], bool] = lambda message: False
    taken: list[ClaimedMessage] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self, message: ClaimedMessage) -> None:
        if self.fails(message):
            raise ConnectionError(f"no answer to {message.payload['text']}")
        with self._lock:
            self.taken.append(message)

    @property
    def texts(self) -> list[str]:
        return [message.payload["text"] for message in self.taken]


def a_sink(world: World, project: UUID, name: str, /, *, kind: str | None = None, **settings: object) -> None:
    """One more sink of the project, enabled; its kind is its name unless said."""
    with world.transaction() as session:
        session.execute(
            insert(sink).values(
                project_id=project,
                name=name,
                kind=kind or name,
                enabled=True,
                settings=settings,
                created_at=NOW,
            )
        )


def owe(
    world: World,
    project: UUID,
    *texts: str,
    key: str = "run:1",
    topic: Topic = Topic.EVALUATION_JUDGED,
) -> None:
    """Owe one message for each text, in one transaction."""
    messages = [NewMessage(topic=topic, order_key=key, payload={"text": each}) for each in texts]
    world.run(lambda session: outbox.write(session, project_id=project, messages=messages, now=NOW))


def claim(
    world: World, *, lease: timedelta = MINUTE, limit: int = 100, kinds: tuple[str, ...] = ("log",)
) -> list[ClaimedMessage]:
    return world.run(
        lambda session: outbox.claim(session, kinds=kinds, lease_id=uuid4(), lease=lease, limit=limit)
    )


def texts(messages: list[ClaimedMessage]) -> list[str]:
    return [message.payload["text"] for message in messages]


def rows(world: World, name: str | None = None) -> list[Any]:
    """Every message, or those of one sink, in their order."""
    query = select(outbox_message).order_by(outbox_message.c.id)
    with world.transaction() as session:
        return list(session.execute(query if name is None else query.where(outbox_message.c.sink == name)))


def until(holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until it holds; what it promises in less, a busy machine may take longer for."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def make_everything_due(world: World) -> None:
    """As if the time to wait, of retries and of leases, had passed."""
    with world.transaction() as session:
        session.execute(
            text(
                "UPDATE outbox_message SET available_at = now() - interval '1 s', "
                "lease_until = CASE WHEN lease_until IS NULL THEN NULL ELSE now() - interval '1 s' END"
            )
        )


def a_worker(world: World, sink: FakeSink, **pace: object) -> Worker:
    return Worker(
        sessions=session_factory(world.engine),
        sinks={"log": sink},
        random=lambda: 0.0,
        pace=Pace(**pace),  # type: ignore[arg-type]
    )


def work_until_idle(worker: Worker, *, most: int = 10_000) -> None:
    """Step until the worker would rest; a step that fails is survived as in its loop."""
    steps = iter(range(most))
    worker.run(lambda: next(steps, None) is None, lambda seconds: stop_stepping(steps))


def stop_stepping(steps: object) -> None:
    for _ in steps:  # type: ignore[attr-defined]
        pass
