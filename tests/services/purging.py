"""A project's retention in tests: what is kept and delivered, and what is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text

from app.db.tables import project, run
from app.domain.retention import Retention
from app.services import purge
from app.services.retention import put_retention
from app.services.runs import archive_run
from tests.services.claims import (
    a_suite,
    posted,
)
from tests.services.world import ADMIN, NOW, World, a_project, a_run, a_world
from tests.worker.owed import FakeSink, a_worker, work_until_idle

LATER = NOW + timedelta(days=100)


EVERYTHING = Retention(
    archived_days=10,
    progress_evaluations_days=10,
    delivered_messages_days=10,
    resolved_alerts_days=10,
    history_days=10,
)


@contextmanager
def a_world_with_weights(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        a_suite(world)
        # The weights are the shares of the first evaluation by id, which is kept for their sake.
        posted(world, a_run(world, "weights").run_id, evaluation_id=UUID(int=1))
        yield world


def project_id(world: World) -> UUID:
    return world.run(lambda session: session.execute(select(project.c.id)).scalar_one())


def keep(world: World, rules: Retention) -> None:
    world.run(lambda session: put_retention(session, ADMIN, project_key="burgers", rules=rules, now=NOW))


def archive(world: World, run_id: UUID, *, at: datetime = NOW) -> None:
    world.run(lambda session: archive_run(session, ADMIN, run_id=run_id, now=at))


def deliver(world: World, *, at: datetime = NOW) -> None:
    """Let everything that is owed arrive, at that time."""
    work_until_idle(a_worker(world, FakeSink()))
    world.run(
        lambda session: session.execute(
            text("UPDATE outbox_message SET delivered_at = :at WHERE delivered_at IS NOT NULL"), {"at": at}
        )
    )


def resolve_alerts(world: World, *, at: datetime = NOW) -> None:
    world.run(
        lambda session: session.execute(
            text("UPDATE alert SET state = 'resolved', resolved_at = :at"), {"at": at}
        )
    )


def purge_all(world: World, *, now: datetime = LATER) -> dict[str, int]:
    """Every kind until nothing goes any more; how many went."""
    here = project_id(world)
    gone = {"messages": 0, "alerts": 0, "progress": 0, "runs": 0, "evaluations": 0}
    for kind, remove in (
        ("messages", purge.purge_messages),
        ("alerts", purge.purge_alerts),
        ("progress", purge.purge_progress),
    ):
        while count := world.run(lambda session: remove(session, here, now=now)):  # noqa: B023  called at once
            gone[kind] += count
    after = None
    for _ in range(1000):
        page = world.run(lambda session: purge.purge_runs(session, here, now=now, after=after))  # noqa: B023
        gone["runs"] += page.runs
        gone["evaluations"] += page.evaluations
        after = page.next_after
        if not (page.runs or page.evaluations) and after is None:
            return gone
    raise AssertionError("it never ends")


def keys(world: World) -> set[str]:
    found = set(world.run(lambda session: list(session.execute(select(run.c.key)).scalars())))
    return found - {"weights"}


def orphans(world: World) -> dict[str, int]:
    """Rows that name a run or an evaluation that is not there."""
    found = {}
    with world.transaction() as session:
        columns = session.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "JOIN information_schema.tables USING (table_schema, table_name) "
                "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
                "AND column_name IN ('run_id', 'evaluation_id', 'baseline_evaluation_id', 'weights_evaluation_id')"
            )
        ).all()
        for table, column in columns:
            target = "run" if column == "run_id" else "evaluation"
            count = session.execute(
                text(
                    f'SELECT count(*) FROM "{table}" t WHERE t."{column}" IS NOT NULL AND NOT EXISTS '
                    f'(SELECT FROM "{target}" o WHERE o.project_id = t.project_id AND o.id = t."{column}")'
                )
            ).scalar_one()
            if count:
                found[f"{table}.{column}"] = count
    return found
