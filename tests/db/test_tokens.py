from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.db import tokens
from app.domain.access import Role
from app.services.tokens import create_token
from tests.services.world import ADMIN, NOW, World, a_world

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world


def test_of_two_requests_that_saw_the_same_last_use_only_one_notes_its_own(world: World) -> None:
    row, _ = world.run(
        lambda session: create_token(
            session,
            ADMIN,
            project=None,
            role=Role.ADMIN,
            label="ops",
            expires_at=None,
            now=NOW,
            new_id=uuid4,
        )
    )

    for seconds in (0, 1):
        with world.transaction() as session:
            tokens.touch(session, row.id, now=NOW + timedelta(seconds=seconds), at_most_every=MINUTE)

    with world.transaction() as session:
        seen = tokens.lock(session, row.id)
    assert seen is not None
    assert seen.last_used_at == NOW
