"""Values, checks and leaderboard rows belong to something that is there: the triggers that stand for foreign keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Table, delete, select, update
from sqlalchemy.exc import IntegrityError

from app.db import Session
from app.db.tables import assessment, check_result, evaluation, evaluation_value, leaderboard_row
from tests.services.world import World, a_project, a_world, an_evaluation

PARENTS = [
    pytest.param(evaluation_value, evaluation, id="values"),
    pytest.param(leaderboard_row, evaluation, id="leaderboard rows"),
    pytest.param(check_result, assessment, id="checks"),
]


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        an_evaluation(world, "run-1", {"a": 1.0, "b": 2.0})
        yield world


def bringing(child: Table, *, of: UUID | None = None) -> Callable[[Session], None]:
    """Write the rows of a child a second time, for another evaluation (or under other keys for the same)."""

    def bring(session: Session) -> None:
        rows = [dict(row) for row in session.execute(select(child)).mappings()]
        for row in rows:
            if of is not None:
                row["evaluation_id"] = of
            if "ordinal" in row:
                row["ordinal"] += 100
            else:
                row["metric"] = "another"
        session.execute(child.insert(), rows)

    return bring


def removing(*tables: Table) -> Callable[[Session], None]:
    def remove(session: Session) -> None:
        for table in tables:
            session.execute(delete(table))

    return remove


@pytest.mark.parametrize(("child", "parent"), PARENTS)
def test_rows_of_nothing_are_refused(world: World, child: Table, parent: Table) -> None:
    world.run(bringing(child))

    with pytest.raises(IntegrityError, match=f"{child.name} has rows of no {parent.name}"):
        world.run(bringing(child, of=uuid4()))


@pytest.mark.parametrize(("child", "parent"), PARENTS)
def test_nothing_goes_while_rows_of_it_are_left(world: World, child: Table, parent: Table) -> None:
    first = [table for table in (check_result, leaderboard_row, evaluation_value) if table is not child]
    if parent is evaluation:
        first.insert(1, assessment)

    with pytest.raises(IntegrityError, match=f"{child.name} still has rows of this {parent.name}"):
        world.run(removing(*first, parent))
    world.run(removing(child, *first, parent))


@pytest.mark.parametrize(("child", "parent"), PARENTS)
def test_who_removes_the_parent_waits_for_who_brings_rows(world: World, child: Table, parent: Table) -> None:
    rest = [
        each for each in (check_result, leaderboard_row, evaluation_value, assessment) if each is not parent
    ]

    def remove(session: Session) -> str:
        # What is brought at the same moment cannot be seen yet.
        removing(*rest)(session)
        try:
            removing(parent)(session)
        except IntegrityError as error:
            session.rollback()
            return str(error)
        return "removed"

    _, said = world.behind(bringing(child), remove)

    assert f"{child.name} still has rows of this {parent.name}" in said


@pytest.mark.parametrize("table", [evaluation_value, leaderboard_row, check_result, evaluation, assessment])
def test_keys_stay_what_they_are(world: World, table: Table) -> None:
    with pytest.raises(IntegrityError, match=f"the keys of {table.name} are never changed"):
        world.run(lambda session: session.execute(update(table).values(project_id=uuid4())))
