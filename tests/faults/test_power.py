"""The power fails: what the client has called durable is there afterwards; and the harness sees it where it is not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.api.processes import Served, served
from tests.faults import power
from tests.faults.power import Synced, Watch, forget_shared_memory, lose_power
from tests.faults.record_ledger import records_in
from tests.faults.trainer import read_account
from tests.faults.trainings import Trainings
from truerun.spool import Spool

PATIENCE_SECONDS = 60
RECORDS = 300


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def lost_to_a_power_cut(service: Served, database_url: str, place: Path, *options: str) -> list[str]:
    """What the ledger says after a training was silent for a while, lost its power, and was sent by `truerun sync`."""
    place.mkdir()
    program = Path(power.__file__)
    # Nobody listens there, so that everything stays in the spool.
    trainings = Trainings(place, "http://127.0.0.1:9", service.token, random.Random(1), program=program)
    account_path = trainings.start("--stay", *options, key=place.name, records=RECORDS)
    log = Path(f"{account_path}.syncs")

    def is_sealed() -> bool:
        account = read_account(account_path)
        segments = sorted(trainings.spool.glob("*/streams/*/*.seg"))
        if account is None or account.returned < RECORDS or not segments:
            return False
        synced = Synced.read(log)
        every = set().union(*map(records_in, segments))
        return len(every) == RECORDS and all(map(synced.was_asked_for, segments))

    try:
        until(is_sealed)
    finally:
        assert trainings.kill()
    account = read_account(account_path)
    assert account is not None
    forget_shared_memory(account.stream_id, place)
    lose_power(trainings.spool, log)
    assert trainings.sync(service.url) == ""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        return trainings.ledger.disagreements(connection)


def test_a_power_cut_loses_nothing_that_was_sealed_and_everything_where_a_sync_is_missing(
    database_url: str, tmp_path: Path
) -> None:
    with served(database_url) as service:
        of_the_client = lost_to_a_power_cut(service, database_url, tmp_path / "honest")
        of_the_mutant = lost_to_a_power_cut(service, database_url, tmp_path / "mutant", "--forgetful")

    assert of_the_client == []
    assert any("and lost" in each for each in of_the_mutant), of_the_mutant


def test_an_evaluation_on_disk_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(tmp_path / "syncs")
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{name}", watch.watching(getattr(power.os, name)))
    root, evaluation = tmp_path / "truerun" / "spool", uuid4()
    spool = Spool.create(root, uuid4())
    spool.write_run({"project": "p"})
    spool.write_evaluation(evaluation, b"{}")
    spool.unlock()

    lose_power(root, tmp_path / "syncs")

    assert spool.read_run()["project"] == "p"
    assert spool.pending() == [evaluation]
    assert spool.read_evaluation(evaluation) == b"{}"
