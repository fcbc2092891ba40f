"""The worker removes what has outlived its project's retention, by and by, and delivers all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.db import session_factory
from app.db.projects import ProjectRow
from app.db.tables import outbox_message, run
from app.domain.retention import Retention
from app.services.retention import put_retention
from app.services.runs import archive_run
from app.worker.tidying import Tidier, purge_now, would_purge
from tests.services.claims import a_suite, posted
from tests.services.world import ADMIN, World, a_project, a_run
from tests.worker.owed import FakeSink, a_worker, owe, work_until_idle

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture
def project(world: World) -> ProjectRow:
    """One whose rules say that an archived run has outlived them, and so has its news."""
    project = a_project(world)
    a_suite(world)
    posted(world, a_run(world, "weights").run_id, evaluation_id=UUID(int=1))
    gone = a_run(world, "gone").run_id
    posted(world, gone)
    rules = Retention(archived_days=10)
    world.run(lambda session: put_retention(session, ADMIN, project_key="burgers", rules=rules, now=LONG_AGO))
    world.run(lambda session: archive_run(session, ADMIN, run_id=gone, now=LONG_AGO))
    world.run(lambda session: session.execute(text("UPDATE outbox_message SET delivered_at = '2001-01-01'")))
    return project


def left(world: World) -> tuple[set[str], int]:
    """(keys of runs, number of messages)."""
    with world.transaction() as session:
        keys = set(session.execute(select(run.c.key)).scalars())
        return keys, len(session.execute(select(outbox_message.c.id)).all())


def test_a_worker_tidies_and_delivers(world: World, project: ProjectRow) -> None:
    owe(world, project.id, "news")
    sink = FakeSink()

    work_until_idle(a_worker(world, sink, tidied_every=timedelta(0)), most=50)

    assert sink.texts == ["news"]
    assert left(world) == ({"weights"}, 1)


def test_a_round_is_made_of_short_steps_and_then_it_rests(world: World, project: ProjectRow) -> None:
    a_project(world, "another")
    tidier = Tidier(sessions=session_factory(world.engine), every=timedelta(hours=1))

    steps = 0
    while tidier.step():
        steps += 1

    # The messages, the run, and once for each project.
    assert steps == 4
    assert left(world) == ({"weights"}, 0)
    assert not tidier.step()


def test_a_round_that_fails_is_begun_again_after_a_rest(world: World, project: ProjectRow) -> None:
    tidier = Tidier(sessions=session_factory(world.engine), every=timedelta(0))
    world.run(lambda session: session.execute(text("ALTER TABLE retention RENAME TO away")))

    with pytest.raises(Exception, match="retention"):
        tidier.step()
    world.run(lambda session: session.execute(text("ALTER TABLE away RENAME TO retention")))
    assert not tidier.step()
    while tidier.step():
        pass

    assert left(world) == ({"weights"}, 0)


def test_a_dry_run_tells_and_changes_nothing(world: World, project: ProjectRow, database_url: str) -> None:
    before = left(world)

    told = list(would_purge(database_url))

    assert told == [
        (
            "burgers: 1 archived runs (gone) with 1 evaluations, 0 progress evaluations, 0 histories, "
            f"{before[1]} delivered messages, 0 resolved alerts"
        )
    ]
    assert left(world) == before
    assert len(list(purge_now(database_url))) == 2
    assert left(world) == ({"weights"}, 0)
    assert list(would_purge(database_url)) == ["Nothing has outlived its project's retention."]
    assert list(purge_now(database_url)) == ["Nothing has outlived its project's retention."]
