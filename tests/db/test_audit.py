from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.db import audit
from tests.services.world import NOW, World, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


def test_rows_are_read_newest_first_page_by_page_and_only_a_projects_own(world: World) -> None:
    mine, theirs = uuid4(), uuid4()
    with world.transaction() as session:
        for number, project in enumerate((mine, theirs, mine, None, mine)):
            audit.write(
                session,
                project_id=project,
                actor="ana",
                action="run.edit",
                subject=f"run {number}",
                reason="why",
                policy_version=number,
                detail={"n": number},
                now=NOW,
            )

    with world.transaction() as session:
        first = audit.page(session, project_id=mine, limit=2)
        rest = audit.page(session, project_id=mine, limit=2, before=first[-1].id)
        server = audit.page(session, project_id=None, limit=2)

    assert [row.subject for row in first + rest] == ["run 4", "run 2", "run 0"]
    assert [row.subject for row in server] == ["run 3"]
    last = first[0]
    assert (last.at, last.actor, last.action, last.reason) == (NOW, "ana", "run.edit", "why")
    assert (last.policy_version, last.detail) == (4, {"n": 4})
