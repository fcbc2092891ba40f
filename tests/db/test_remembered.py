from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from app.db import evaluations, suites
from app.db.remembered import Remembered
from app.db.suites import SuiteRow
from app.errors import TruerunError
from app.services.evaluations import PostedEvaluation
from tests.services.claims import GOOD, a_post, a_suite, bootstrapping, marking_run, posted, posting
from tests.services.world import NOW, World, a_project, a_run, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        a_project(world)
        yield world


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Remembered[str, str] = Remembered(most=4, size=len)
    kept.put("a", "xx")
    kept.put("b", "yy")

    assert kept.get("a") == "xx"
    kept.put("c", "zz")

    assert [kept.get(key) for key in "abc"] == ["xx", None, "zz"]


def test_what_alone_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    kept: Remembered[str, str] = Remembered(most=4, size=len)
    kept.put("a", "xx")

    kept.put("b", "yyyyy")

    assert [kept.get(key) for key in "ab"] == ["xx", None]


def test_a_suite_version_that_was_taken_back_is_not_remembered_for_the_next_of_its_number() -> None:
    row = SuiteRow(
        project_id=uuid4(),
        id=uuid4(),
        key="heights",
        version=2,
        document={"groups": [{"name": "taken back"}], "metrics": {"mse": "lower"}},
        frozen_weights=None,
        weights_final=False,
        created_at=NOW,
        created_by="ana",
    )
    again = replace(
        row,
        document={"groups": [{"name": "kept"}], "metrics": {"mse": "lower"}},
        created_at=NOW + timedelta(seconds=1),
    )

    first, second = row.to_domain(), again.to_domain()

    assert [[group.name for group in suite.groups] for suite in (first, second)] == [["taken back"], ["kept"]]


def test_frozen_weights_are_those_of_now(world: World) -> None:
    a_suite(world)
    opened = a_run(world, "first")
    before = world.run(lambda session: suites.newest(session, project_id=opened.project_id, key="heights"))
    assert before is not None
    assert not before.to_domain().frozen_weights

    posted(world, opened.run_id, GOOD)

    after = world.run(lambda session: suites.newest(session, project_id=opened.project_id, key="heights"))
    assert after is not None
    assert after.to_domain().frozen_weights


def test_values_of_a_post_that_was_taken_back_are_not_those_of_the_next_of_its_id(world: World) -> None:
    a_suite(world)
    opened = a_run(world, "first")
    evaluation_id = uuid4()

    def taken_back(post: PostedEvaluation) -> list[float]:
        found: list[float] = []

        def do(session: object) -> None:
            posting(opened.run_id, post, evaluation_id=evaluation_id)(session)  # type: ignore[arg-type]
            loaded = evaluations.load(session, project_id=opened.project_id, ids=[evaluation_id])  # type: ignore[arg-type]
            found.extend(value.value for value in loaded[evaluation_id].values)
            raise TruerunError("taken back")

        with pytest.raises(TruerunError):
            world.run(do)
        return found

    first = taken_back(a_post(dict.fromkeys(GOOD, 0.25)))
    second = taken_back(a_post(dict.fromkeys(GOOD, 0.5)))

    assert (set(first), set(second)) == ({0.25}, {0.5})


def test_a_champion_read_a_second_time_has_the_validity_of_now(world: World) -> None:
    a_suite(world)
    opened = a_run(world, "first")
    evaluation_id = posted(world, opened.run_id, GOOD)
    world.run(bootstrapping(evaluation_id))

    def load() -> bool:
        found = world.run(
            lambda session: evaluations.load(session, project_id=opened.project_id, ids=[evaluation_id])
        )
        return found[evaluation_id].is_valid

    assert load()
    world.run(marking_run(opened.run_id, reason="leak"))
    assert not load()
