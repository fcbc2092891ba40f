"""Many rows at once, inserted while something else is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from app.db import Session, bulk
from app.db.tables import evaluation, evaluation_value
from tests.services.world import World, a_project, a_world, an_evaluation


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        an_evaluation(world, "run-1", {"a": 1.0})
        yield world


def values(session: Session, names: list[str], *, of: UUID | None = None) -> bulk.Rows:
    project_id, evaluation_id = session.execute(select(evaluation.c.project_id, evaluation.c.id)).one()
    return bulk.rows_of(
        evaluation_value,
        same={
            "project_id": project_id,
            "evaluation_id": of or evaluation_id,
            "metric": "m",
            "bound": "exact",
        },
        columns={"group_name": names, "value": [0.5] * len(names), "n": [None] * len(names)},
    )


def stored(session: Session) -> int:
    return session.execute(
        select(func.count()).select_from(evaluation_value).where(evaluation_value.c.metric == "m")
    ).scalar_one()


def test_postgres_has_done_its_part_while_the_block_still_runs(world: World) -> None:
    state = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")

    with world.transaction() as session, world.engine.connect() as other:
        pid = session.execute(select(func.pg_backend_pid())).scalar_one()
        rows = values(session, ["a", "b"])
        deadline = time.monotonic() + 60
        with bulk.inserting(session, rows):
            while other.execute(state, {"pid": pid}).scalar_one() == "active":
                assert time.monotonic() < deadline, "Postgres still waits for the end of the rows"
                other.rollback()
                time.sleep(0.01)

        assert stored(session) == 2


def test_what_postgres_refuses_is_raised_at_the_end_of_the_block(world: World) -> None:
    done = []

    with world.engine.connect() as connection, Session(connection) as session:
        rows = values(session, ["a"], of=uuid4())
        with pytest.raises(IntegrityError, match="has rows of no evaluation"), bulk.inserting(session, rows):
            done.append("the block")
        session.rollback()

        assert done == ["the block"]
        assert stored(session) == 0


def test_what_fails_in_the_block_is_raised_and_the_connection_goes_on(world: World) -> None:
    with world.engine.connect() as connection, Session(connection) as session:
        rows = values(session, ["a"])
        with pytest.raises(ZeroDivisionError), bulk.inserting(session, rows):
            raise ZeroDivisionError
        session.rollback()

        assert stored(session) == 0


def test_megabytes_of_rows_are_taken_whole(world: World) -> None:
    with world.transaction() as session:
        bulk.insert(session, values(session, [f"{'group' * 20} {i}" for i in range(40_000)]))

        assert stored(session) == 40_000
        session.rollback()


def test_no_rows_are_not_even_sent(world: World) -> None:
    with world.transaction() as session:
        rows = values(session, [])
        bulk.insert(session, rows)

        assert rows.content == b""
        assert stored(session) == 0
