"""Defects that are built in on purpose, so that it is known that the harness would find them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from app.db import make_engine, migrate, session_factory
from app.embedded import EmbeddedPostgres, embedded_postgres
from app.services.tokens import ensure_local_admin
from tests.faults.storm import a_storm

SEED = 20261121
LATE_COMMIT = ("-m", "tests.faults.late_commit")


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    with embedded_postgres(data_dir, settings={"max_connections": "150"}) as server:
        migrate.upgrade(server.url())
        yield server


def a_token(postgres: EmbeddedPostgres) -> str:
    engine = make_engine(postgres.url())
    try:
        with session_factory(engine).begin() as session:
            return ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4)
    finally:
        engine.dispose()


def test_an_answer_before_the_commit_is_found_by_the_storm(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with a_storm(
        postgres, a_token(postgres), tmp_path, seed=SEED, service=LATE_COMMIT, kinds={"api": 1}
    ) as storm:
        # Ends as soon as a training is told that what was acknowledged is not there.
        storm.run(60)
        found = storm.disagreements()

    assert any(each.startswith("acknowledged and lost") for each in found), (SEED, dict(storm.kills), found)
    assert storm.kills.total() < 60
