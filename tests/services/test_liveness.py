from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from app.db import attempts, runs
from app.db.projects import ProjectRow
from app.db.tables import attempt, run, run_event
from app.domain.alerts import AlertKind, State
from app.domain.liveness import Status
from app.services.liveness import heard_again, mark_silent, watch_rivals
from app.services.runs import EditRun, OpenedRun, OpenRun, edit_run, open_run, request_stop
from tests.services.claims import alerts
from tests.services.world import ADMIN, NOW, World, a_project, a_run

LONG = timedelta(days=1)


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def spoke(world: World, opened: OpenedRun, at: datetime, *, number: int = 1) -> None:
    with world.transaction() as session:
        session.execute(
            update(attempt)
            .where(attempt.c.run_id == opened.run_id, attempt.c.number == number)
            .values(heartbeat_at=at)
        )


def sweep(world: World, *, seconds: float, listening_for: timedelta = LONG) -> int:
    now = NOW + timedelta(seconds=seconds)
    return world.run(lambda session: mark_silent(session, now=now, listening_for=listening_for, limit=100))


def status(world: World, opened: OpenedRun) -> str:
    with world.transaction() as session:
        found: str = session.execute(select(run.c.status).where(run.c.id == opened.run_id)).scalar_one()
        return found


def attempt_statuses(world: World, opened: OpenedRun) -> list[str]:
    query = select(attempt.c.status).where(attempt.c.run_id == opened.run_id).order_by(attempt.c.number)
    with world.transaction() as session:
        return list(session.execute(query).scalars())


def events(world: World, opened: OpenedRun) -> list[tuple[str, int]]:
    query = select(run_event.c.kind, run_event.c.idx).where(run_event.c.run_id == opened.run_id)
    with world.transaction() as session:
        return [(row.kind, row.idx) for row in session.execute(query.order_by(run_event.c.idx))]


def with_run(world: World, opened: OpenedRun, call: Any) -> Any:
    def do(session: Any) -> Any:
        row = runs.lock(session, project_id=opened.project_id, run_id=opened.run_id)
        assert row is not None
        return call(session, row)

    return world.run(do)


def next_attempt(world: World, opened: OpenedRun, *, minutes: float = 0) -> OpenedRun:
    return world.run(
        lambda session: open_run(
            session,
            ADMIN,
            project_key="burgers",
            run_key=opened.key,
            request=OpenRun(attempt_id=uuid4(), resume_step=40),
            now=NOW + timedelta(minutes=minutes),
            new_id=uuid4,
        )
    )


def test_a_silent_run_is_stale_then_lost_and_says_so_once(world: World, project: ProjectRow) -> None:
    silent, alive = a_run(world, "silent"), a_run(world, "alive")
    spoke(world, silent, NOW)
    spoke(world, alive, NOW + timedelta(seconds=899))

    assert sweep(world, seconds=89) == 0
    assert (sweep(world, seconds=95), status(world, silent)) == (1, "stale")
    assert alerts(world, project.id) == []
    assert (sweep(world, seconds=901), status(world, silent)) == (1, "lost")
    assert sweep(world, seconds=2000) == 1

    (row,) = [each for each in alerts(world, project.id) if each.run_key == "silent"]
    assert (row.alert.kind, row.alert.state, row.suite_key, row.evaluation_id) == (
        AlertKind.LOST,
        State.OPEN,
        None,
        None,
    )
    assert len(row.alert.title) < 64
    assert [kind for kind, _ in events(world, silent)] == ["lost"]
    assert attempt_statuses(world, silent) == ["lost"]


def test_a_lost_run_that_speaks_is_running_and_its_alert_resolves(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "silent")
    spoke(world, opened, NOW)
    sweep(world, seconds=1000)

    with_run(
        world, opened, lambda session, row: heard_again(session, row, number=1, before=Status.LOST, now=NOW)
    )

    assert status(world, opened) == "running"
    (alert,) = alerts(world, project.id)
    assert alert.alert.state is State.RESOLVED
    assert events(world, opened) == [("lost", 0), ("found", 1)]


def test_silence_while_nobody_could_be_heard_says_nothing(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "run")
    spoke(world, opened, NOW)

    assert sweep(world, seconds=10**6, listening_for=timedelta(seconds=60)) == 0
    assert sweep(world, seconds=10**6, listening_for=timedelta(seconds=120)) == 1
    assert status(world, opened) == "stale"


def test_what_never_sent_a_record_is_not_missed(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "evaluations-only")

    assert (sweep(world, seconds=10**6), status(world, opened)) == (0, "running")


def test_an_older_attempt_is_lost_without_taking_the_run_with_it(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "resumed")
    spoke(world, opened, NOW)
    next_attempt(world, opened)
    spoke(world, opened, NOW + timedelta(seconds=1000), number=2)

    sweep(world, seconds=1000)

    assert attempt_statuses(world, opened) == ["lost", "running"]
    assert (status(world, opened), alerts(world, project.id)) == ("running", [])


def test_a_new_attempt_of_a_lost_run_resolves_the_alert_and_forgets_the_stop(
    world: World, project: ProjectRow
) -> None:
    opened = a_run(world, "lost")
    spoke(world, opened, NOW)
    sweep(world, seconds=1000)
    world.run(lambda session: request_stop(session, ADMIN, run_id=opened.run_id, wanted=True, now=NOW))

    assert next_attempt(world, opened).attempt == 2

    assert status(world, opened) == "running"
    assert [row.alert.state for row in alerts(world, project.id)] == [State.RESOLVED]
    with world.transaction() as session:
        row = runs.by_id(session, opened.run_id)
        assert row is not None
        assert not row.stop_requested
        resumed = select(attempt.c.resume_step).where(attempt.c.run_id == opened.run_id)
        assert list(session.execute(resumed.order_by(attempt.c.number)).scalars()) == [None, 40]


def test_two_attempts_at_once_are_warned_of_once(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "twice")
    next_attempt(world, opened)

    for seconds in (30, 90, 120):
        with_run(
            world,
            opened,
            lambda session, row, at=NOW + timedelta(seconds=seconds): watch_rivals(
                session, row, number=1, spoke_at=at, newer_began_at=NOW, now=at
            ),
        )

    (alert,) = alerts(world, project.id)
    assert (alert.alert.kind, alert.alert.count) == (AlertKind.ATTEMPTS, 1)
    assert events(world, opened) == [("two_attempts", 0)]


def test_ending_a_run_by_hand_ends_its_attempt(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "done")
    spoke(world, opened, NOW)
    changes = EditRun(status=Status.FINISHED)

    world.run(lambda session: edit_run(session, ADMIN, run_id=opened.run_id, changes=changes, now=NOW))

    assert attempt_statuses(world, opened) == ["finished"]
    assert (sweep(world, seconds=10**6), status(world, opened)) == (0, "finished")


def test_two_workers_who_look_at_once_tell_of_a_loss_once(world: World, project: ProjectRow) -> None:
    opened = a_run(world, "silent")
    spoke(world, opened, NOW)

    def look(session: Any) -> int:
        return mark_silent(session, now=NOW + timedelta(hours=1), listening_for=LONG, limit=10)

    assert sorted(world.together(look, look)) == [0, 1]
    assert [row.alert.count for row in alerts(world, project.id)] == [1]
    assert attempts.OF_THE_SERVICE.int == 0
