from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.calling import Caller, an_admin


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as caller:
        yield caller
