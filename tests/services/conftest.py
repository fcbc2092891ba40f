from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.world import World, a_world


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with a_world(database_url) as world:
        yield world
