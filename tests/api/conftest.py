from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.api.calling import Caller, an_admin


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as caller:
        yield caller


@pytest.fixture
def burgers(admin: Caller) -> None:
    """A project of that key."""
    admin.post("/projects", {"key": "burgers"})


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection
