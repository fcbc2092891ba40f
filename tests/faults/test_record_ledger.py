"""The ledger of records sees what it is there to see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.api.calling import Caller, a_run, an_admin
from tests.faults.record_ledger import RecordLedger
from tests.faults.trainer import Kind, Writing, title_of

ENTRIES = [
    (0.5, Kind.POINT),
    (math.nan, Kind.POINT),
    (2.0, Kind.GROUPS),
    (3.0, Kind.EVENT),
    (4.0, Kind.SUMMARY),
    (5.0, Kind.POINT),
]


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as admin:
        yield admin


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def account(tmp_path: Path) -> Writing:
    """A training that logged all entries, was told so, and ended."""
    writing = Writing(tmp_path / "account", uuid4())
    for idx, (value, kind) in enumerate(ENTRIES):
        writing.will_log(idx, value, kind)
    writing.has_logged(len(ENTRIES))
    writing.will_end()
    writing.was_told(len(ENTRIES) + 1)
    return writing


@pytest.fixture
def ledger(account: Writing, admin: Caller, tmp_path: Path) -> RecordLedger:
    """Its account, and the records stored."""
    found = RecordLedger(accounts=[tmp_path / "account"])
    (told,) = found.read()
    admin.post(f"/runs/{a_run(admin, key='run')}/streams/{told.stream_id}/records", a_batch())
    return found


def a_batch() -> dict[str, Any]:
    one = {"metrics": {"loss": [0.5, "NaN", 5.0], "half": [0.25, "NaN", 2.5]}}
    two = {"groups": {"easy": {"mse": [2.0]}, "hard": {"mse": [4.0]}}, "split": "val"}
    return {
        "first": 0,
        "count": 7,
        "logged": 7,
        "blocks": [
            {"idx": [0, 1, 5], "steps": [0, 1, 5], "times": [1.0, 2.0, 3.0], **one},
            {"idx": [2], "steps": [2], "times": [2.5], **two},
        ],
        "other": [
            {
                "idx": 3,
                "type": "event",
                "kind": "alert",
                "level": "info",
                "title": title_of(3.0),
                "time": 4.0,
            },
            {"idx": 4, "type": "summary", "values": {"latest": 4.0}},
            {"idx": 6, "type": "finish", "status": "finished", "time": 5.0},
        ],
    }


def test_accounts_and_a_database_that_agree_have_nothing_to_say(
    ledger: RecordLedger, sql: psycopg.Connection[Any]
) -> None:
    assert ledger.acknowledged == 7
    assert ledger.disagreements(sql) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(
            'UPDATE metric_chunk SET "values"[1] = 7 WHERE array_length("values", 1) = 3',
            "other content",
            id="a value is another",
        ),
        pytest.param("DELETE FROM metric_chunk", "acknowledged and lost", id="points are gone"),
        pytest.param("DELETE FROM run_event", "acknowledged and lost", id="an event is gone"),
        pytest.param("DELETE FROM stream", "logged and lost", id="a stream is gone"),
        pytest.param(
            "UPDATE stream SET next_idx = 6, stored = 6", "acknowledged and lost", id="the end is gone"
        ),
        pytest.param(
            'UPDATE metric_chunk SET "values" = "values"[1:1] || "values" WHERE array_length("values", 1) = 3; '
            "UPDATE record_block SET step_start = NULL, step_stride = NULL, steps = '{0,0,1,5}' WHERE count = 3",
            "doubled",
            id="a record is there twice",
        ),
        pytest.param(
            "UPDATE stream SET stored = 6, gaps = 1", "rejects or gaps", id="a gap that nobody wrote down"
        ),
        pytest.param("UPDATE stream SET stored = 6, rejected = 1", "rejected or lost", id="a record refused"),
        pytest.param("UPDATE stream SET logged = 3", "its books say", id="more stored than logged"),
        pytest.param("UPDATE stream SET id = gen_random_uuid()", "nobody wrote", id="a stream of nobody"),
    ],
)
def test_whatever_is_harmed_is_named(
    ledger: RecordLedger, sql: psycopg.Connection[Any], harm: str, said: str
) -> None:
    assert sql.execute(harm).rowcount

    assert any(said in each for each in ledger.disagreements(sql)), ledger.disagreements(sql)


def test_an_acknowledgement_that_is_taken_back_is_named(
    ledger: RecordLedger, account: Writing, sql: psycopg.Connection[Any]
) -> None:
    account.was_told(2)

    assert any("was told 7, then 2" in each for each in ledger.disagreements(sql))


def test_what_lay_in_the_spool_and_never_came_is_named(
    ledger: RecordLedger, sql: psycopg.Connection[Any]
) -> None:
    (told,) = ledger.read()
    ledger.spooled[told.stream_id] = {5, 6, 7}

    assert any(each.startswith("spooled and lost: 1") for each in ledger.disagreements(sql))
