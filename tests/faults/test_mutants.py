"""Defects that are built in on purpose, so that it is known that the harness would find them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from app.db import make_engine, migrate, session_factory
from app.embedded import EmbeddedPostgres, embedded_postgres
from app.services.tokens import ensure_local_admin
from tests.faults.storm import SERVICE, a_storm
from tests.faults.trainer import read_account

SEED = 20261121
PATIENCE_SECONDS = 120
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


def taken_back(postgres: EmbeddedPostgres, place: Path, service: Sequence[str], *, kills: int) -> list[str]:
    """What the ledger says when every API is killed right after a training heard an acknowledgement.

    A kill at random finds the defect as well, but not within a time that could be promised.
    """
    with a_storm(postgres, a_token(postgres), place, seed=SEED, service=service) as storm:
        storm.proxy.calm()
        path = storm.trainings.start(key="aimed", records=10**9)
        told = 0
        for _ in range(kills):
            for api in storm.apis:
                api.keep()
            told = heard(path, more_than=told)
            for api in storm.apis:
                api.kill()
            if storm.trainings.went_back():
                break
        assert storm.trainings.kill()
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            return storm.trainings.ledger.disagreements(connection)


def heard(path: Path, *, more_than: int) -> int:
    """Wait until more was acknowledged, or an acknowledgement was taken back; how many records are."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        account = read_account(path)
        if account is not None and (account.acknowledged > more_than or account.went_back is not None):
            return account.acknowledged
        assert time.monotonic() < deadline, f"no more than {more_than} records were acknowledged"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("service", "kills", "is_found"),
    [
        pytest.param(SERVICE, 2, False, id="commits first"),
        pytest.param(LATE_COMMIT, 10, True, id="answers first"),
    ],
)
def test_an_answer_before_the_commit_is_found(
    postgres: EmbeddedPostgres, tmp_path: Path, service: Sequence[str], kills: int, is_found: bool
) -> None:
    found = taken_back(postgres, tmp_path, service, kills=kills)

    assert any(each.startswith("acknowledged and lost") for each in found) is is_found, (SEED, found)
