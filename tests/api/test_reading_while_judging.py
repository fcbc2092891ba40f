"""A verdict that is read while it is given again is never answered in its old form as if it were the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, event

from app.api.verdicts import verdict_answer, verdict_summaries
from app.db import Session, evaluations, make_engine, session_factory
from tests.services.claims import GOOD, a_suite, bootstrapping, judge_again, posted
from tests.services.world import World, a_project, a_run, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


def after_statement(engine: Engine, number: int, call: Callable[[], int]) -> list[int]:
    """Call once, after so many statements of this engine; what it returned comes into the list."""
    count, returned = 0, list[int]()

    # At the driver, where statements meet that go past SQLAlchemy and those that do not.
    class Counting(psycopg.Cursor[Any]):
        def execute(self, *given: Any, **more: Any) -> Self:
            nonlocal count
            super().execute(*given, **more)
            count += 1
            if count == number:
                returned.append(call())
            return self

    event.listen(engine, "connect", lambda driver, _: setattr(driver, "cursor_factory", Counting))
    return returned


def answers(session: Session, project: UUID, evaluation_id: UUID) -> tuple[str, bool, str, bool]:
    row = evaluations.by_id(session, project_id=project, evaluation_id=evaluation_id)
    assert row is not None
    whole, (line,) = verdict_answer(session, row), verdict_summaries(session, [row])
    return whole.sentence, whole.stale, line.sentence, line.stale


def test_whenever_the_worker_comes_in_between_an_old_verdict_says_that_it_is_old(
    world: World, database_url: str
) -> None:
    statements = 0
    while True:
        key = f"round-{statements}"
        project, _ = a_project(world, key), a_suite(world, project=key)
        champion = posted(world, a_run(world, "champion", project=key).run_id, GOOD)
        candidate = posted(world, a_run(world, "candidate", project=key).run_id, GOOD)
        # From here on the candidate is stale: nothing was compared, and now there is a champion.
        world.run(bootstrapping(champion, project=key))
        statements += 1
        reading = make_engine(database_url, pool_size=1)
        judged = after_statement(reading, statements, lambda: judge_again(world))
        with session_factory(reading).begin() as session:
            whole, whole_is_stale, line, line_is_stale = answers(session, project.id, candidate)
        reading.dispose()
        if not judged:
            break

        assert whole_is_stale or "champion" in whole.replace("no champion", ""), (statements, whole)
        assert line_is_stale or "champion" in line.replace("no champion", ""), (statements, line)
    assert statements > 10
