"""A database with people in it, for tests of services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import sessionmaker

from app.db import Session, make_engine
from app.db.audit import SERVER
from app.db.baselines import EventRow
from app.db.projects import ProjectRow
from app.db.tables import audit_event
from app.domain.access import Actor, Role
from app.domain.evaluations import Purpose, Value
from app.domain.promotion import EventKind
from app.errors import TruerunError
from app.services.baselines import record_event
from app.services.evaluations import PostedEvaluation, record_evaluation
from app.services.projects import create_project
from app.services.runs import OpenedRun, OpenRun, open_run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ADMIN = Actor(name="root (token trn_root0000)", role=Role.ADMIN)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class World:
    engine: Engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end, as a request does."""
        with sessionmaker(self.engine).begin() as session:
            yield session

    def run(self, call: Callable[[Session], _T]) -> _T:
        with self.transaction() as session:
            return call(session)

    def together(self, *calls: Callable[[Session], Any]) -> list[Any]:
        """What each call returned or raised, each in its own thread and transaction, all started at once."""
        barrier = threading.Barrier(len(calls))
        results: list[Any] = [None] * len(calls)

        def work(i: int) -> None:
            barrier.wait()
            try:
                results[i] = self.run(calls[i])
            except TruerunError as error:
                results[i] = error

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    def behind(self, first: Callable[[Session], Any], second: Callable[[Session], Any]) -> tuple[Any, Any]:
        """Both results; the second call begins when the first has written, and has to wait for its commit."""
        results: list[Any] = []

        def work() -> None:
            try:
                results.append(self.run(second))
            except TruerunError as error:
                results.append(error)

        thread = threading.Thread(target=work)
        with self.transaction() as session:
            answer = first(session)
            thread.start()
            self.until_somebody_waits()
        thread.join(60)
        return answer, results[0]

    def until_somebody_waits(self) -> None:
        query = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 30
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not connection.execute(query).scalar_one():
                assert time.monotonic() < deadline, "nobody came to wait"
                time.sleep(0.01)

    def audit(self, project: UUID | None = None) -> list[tuple[str, str]]:
        """(action, subject) of every audit row, oldest first."""
        return [(row.action, row.subject) for row in self.audit_rows(project)]

    def audit_rows(self, project: UUID | None = None) -> list[Any]:
        query = select(audit_event).where(audit_event.c.project_id == (project or SERVER))
        with self.transaction() as session:
            return list(session.execute(query.order_by(audit_event.c.id)))


@contextmanager
def a_world(database_url: str) -> Iterator[World]:
    engine = make_engine(database_url)
    try:
        yield World(engine)
    finally:
        engine.dispose()


def a_project(world: World, key: str = "burgers") -> ProjectRow:
    return world.run(lambda session: create_project(session, ADMIN, key=key, name=key, now=NOW, new_id=uuid4))


def a_run(world: World, key: str, *, project: str = "burgers", minutes: int = 0, **says: Any) -> OpenedRun:
    """A run (or its next attempt) opened by an admin so many minutes after noon."""
    request = OpenRun(attempt_id=uuid4(), **says)
    now = NOW + timedelta(minutes=minutes)
    return world.run(
        lambda session: open_run(
            session, ADMIN, project_key=project, run_key=key, request=request, now=now, new_id=uuid4
        )
    )


def somebody(role: Role, project: ProjectRow | None = None, *, run: UUID | None = None) -> Actor:
    """Somebody of that role, in that project, whose name says so."""
    return Actor(
        name=f"a {role} of {project.key if project else 'the server'}",
        role=role,
        token=uuid4(),
        project=project.id if project else None,
        run=run,
    )


def an_evaluation(
    world: World,
    run: str,
    groups: Mapping[str, float],
    *,
    minutes: int = 0,
    purpose: Purpose = Purpose.CANDIDATE,
) -> UUID:
    """An evaluation of a run's next attempt on suite val, so many minutes after noon.

    Args:
        groups: Mean squared errors by group, of 100 samples each.
    """
    evaluation_id = UUID(int=(minutes << 64) + uuid4().int % 2**64)
    opened = a_run(world, run)
    values = tuple(Value(metric="mse", group=group, value=value, n=100) for group, value in groups.items())
    world.run(
        lambda session: record_evaluation(
            session,
            ADMIN,
            run_id=opened.run_id,
            evaluation_id=evaluation_id,
            posted=PostedEvaluation(suite="val", values=values, purpose=purpose),
            now=NOW + timedelta(minutes=minutes),
            new_id=uuid4,
        )
    )
    return evaluation_id


def crowning(
    evaluation_id: UUID | None, *, kind: EventKind = EventKind.BOOTSTRAP, expected_version: int = 0
) -> Callable[[Session], EventRow]:
    """Make the evaluation champion of suite val (or, without one, roll back)."""
    return lambda session: record_event(
        session,
        ADMIN,
        project_key="burgers",
        suite_key="val",
        stage="final",
        kind=kind,
        evaluation_id=evaluation_id,
        expected_version=expected_version,
        reason="a test",
        now=NOW,
    )
