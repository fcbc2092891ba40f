from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.db.projects import ProjectRow
from app.domain.evaluations import Validity
from app.domain.outcomes import Gate, Outcome
from app.errors import Conflict
from tests.services.claims import (
    BAD,
    BETTER,
    GOOD,
    a_post,
    a_suite,
    bootstrapping,
    posted,
    posting,
    verdict,
)
from tests.services.world import World, a_project, a_run, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


@pytest.fixture
def project(world: World) -> ProjectRow:
    return a_project(world)


def test_a_regressed_group_closes_the_gate(world: World, project: ProjectRow) -> None:
    a_suite(world)
    first = posted(world, a_run(world, "first").run_id, GOOD)
    world.run(bootstrapping(first))

    second = posted(world, a_run(world, "second").run_id, BAD)

    found = verdict(world, project.id, second)
    assert found.gate is Gate.CLOSED
    assert {c.group for c in found.checks if c.outcome is Outcome.REGRESSED} >= {"hard"}
