from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest

from app.db import Session, runs
from tests.services.world import World, a_project, a_run, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


def test_several_runs_are_locked_by_id_whatever_order_they_are_named_in(world: World) -> None:
    project = a_project(world)
    ids = [a_run(world, key).run_id for key in "abcd"]

    def locking(order: list[UUID]) -> list[UUID]:
        with world.transaction() as session:
            return [row.id for row in runs.lock_several(session, project_id=project.id, run_ids=order)]

    assert locking(ids) == locking(ids[::-1]) == locking(ids * 2) == sorted(ids)


def test_who_locks_the_same_runs_in_any_order_never_deadlocks(world: World) -> None:
    project = a_project(world)
    ids = [a_run(world, key).run_id for key in "abcd"]

    def locking(order: list[UUID]) -> Callable[[Session], int]:
        def call(session: Session) -> int:
            return len(runs.lock_several(session, project_id=project.id, run_ids=order))

        return call

    answers = world.together(*(locking(ids if i % 2 else ids[::-1]) for i in range(8)))

    assert answers == [4] * 8


def test_a_run_of_another_project_is_not_locked(world: World) -> None:
    a_project(world)
    run_id = a_run(world, "a").run_id

    with world.transaction() as session:
        assert runs.lock(session, project_id=uuid4(), run_id=run_id) is None
