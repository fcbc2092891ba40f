"""Cells, names, addresses and answers, without any process."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.worker.wandb_jobs import readback
from app.worker.wandb_jobs.failures import Unacceptable, judged
from app.worker.wandb_jobs.internal_log import alert_answers
from app.worker.wandb_jobs.job import lines, table
from app.worker.wandb_jobs.order import address_problem
from app.worker.wandb_jobs.outcome import State
from app.worker.wandb_jobs.readback import Found
from app.worker.wandb_jobs.values import Kind, column, key_part, printable, run_id, strict
from tests.worker.wandb.jobs import a_small_job


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (Decimal("1.5"), 1.5),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (True, True),
        (2**53 + 1, float(2**53)),
        (10**400, "Infinity"),
        ("a\0b\ud800", "ab?"),
        (None, None),
    ],
    ids=repr,
)
def test_a_cell_is_what_json_has(value: object, expected: object) -> None:
    assert strict(value) == expected
    assert type(strict(value)) is type(expected)


@given(
    st.sampled_from(Kind),
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.binary())
    ),
)
def test_a_column_is_of_one_kind_and_strict(kind: Kind, values: list[object]) -> None:
    found, cells = column(kind, values)

    allowed = {Kind.TEXT: {str}, Kind.FLAG: {bool}, Kind.NUMBER: {int, float}}[found]
    assert {type(cell) for cell in cells if cell is not None} <= allowed
    assert len(cells) == len(values)
    assert [cell is None for cell in cells] == [value is None for value in values]
    json.dumps(cells, allow_nan=False)


@given(st.text(), st.text())
def test_an_id_is_one_that_wandb_takes_and_tells_names_apart(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run_id("eval", one))
    assert (run_id("eval", one) == run_id("eval", other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "part"), [("loss/pde", "loss_pde"), ("log2_mse", "log2_mse"), ("5", "_5"), ("", "_")]
)
def test_a_key_can_be_sorted_by(name: str, part: str) -> None:
    assert key_part(name) == part


def test_what_is_cut_says_so() -> None:
    assert printable("x" * 64, 63) == "x" * 62 + "…"
    assert printable("x" * 63, 63) == "x" * 63


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        table("t", {"a": Kind.TEXT, "b": Kind.TEXT}, [("x", "y"), ("x",)])
    with pytest.raises(ValueError, match="1 points for 2"):
        lines("l", "", "x", [0, 1], {"y": [1]})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://api.wandb.ai", None),
        ("https://API.wandb.ai/", None),
        ("http://localhost:8080", None),
        ("http://wandb.example.org", "https"),
        ("https://evil.example.org", "not among"),
        ("https://api.wandb.ai@evil.example.org", "plain address"),
        ("https://api.wandb.ai/?x=1", "plain address"),
        ("file:///etc/passwd", "not an http address"),
        ("api.wandb.ai", "not an http address"),
    ],
)
def test_the_key_goes_only_to_allowed_addresses(url: str, said: str | None) -> None:
    allowed = {"https://api.wandb.ai", "http://localhost:8080", "http://wandb.example.org"}

    problem = address_problem(url, allowed)

    assert problem is None if said is None else said in str(problem)


class Answered(Exception):
    """As wandb's own error, which carries the answer."""

    def __init__(self, status: int) -> None:
        super().__init__("no")
        self.response = type("Response", (), {"http_status": status})()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Answered(401), State.PAUSED),
        (Answered(403), State.PAUSED),
        (Answered(500), State.RETRY),
        (Answered(404), State.RETRY),
        (ConnectionResetError("connection reset"), State.RETRY),
        (RuntimeError("permission denied"), State.PAUSED),
        (RuntimeError("port 4030 is closed"), State.RETRY),
        (Unacceptable("Data row contained incompatible types"), State.REFUSED),
    ],
    ids=str,
)
def test_an_error_means_what_it_carries(error: Exception, state: State) -> None:
    wrapped = RuntimeError("Failed to verify credentials")
    wrapped.__cause__ = error

    assert judged(error).state is state
    if not isinstance(error, RuntimeError | Unacceptable):
        assert judged(wrapped).state is state


def test_an_alert_is_taken_only_when_the_log_says_so(tmp_path: Path) -> None:
    log = tmp_path / "debug-internal.log"
    assert alert_answers(log) == []

    taken = {"msg": "sender: sendAlert: notified scriptable run alert"}
    said = [
        {"msg": "filestream: request sent"},
        {**taken, "data": {"notifyScriptableRunAlert": {"success": True}}},
        {**taken, "data": {"notifyScriptableRunAlert": {"success": False}}},
        {"msg": "sender: sendAlert: failed to notify scriptable run alert"},
        taken,
    ]
    text = "\n".join(json.dumps(line) for line in said) + "\n"
    log.write_text(text + json.dumps(said[1]))

    # The last line is not whole yet.
    assert alert_answers(log) == [True, False, False, False]


def whole_summary() -> dict[str, object]:
    job = a_small_job()
    return {
        "mirror/rev": 1,
        "mirror/digest": job.digest,
        "regression/comparison": {"path": "media/table/x.json", "size": 10},
        "_step": 3,
    }


@pytest.mark.parametrize(
    ("summary", "step", "files", "said"),
    [
        ({}, 3, {"media/table/x.json": 10}, ""),
        ({"mirror/rev": 2}, 3, {"media/table/x.json": 10}, "not this job's"),
        ({"mirror/digest": ""}, 3, {"media/table/x.json": 10}, "not this job's"),
        ({"regression/comparison": None}, 3, {}, "does not name"),
        ({}, 3, {}, "is not there"),
        ({}, 3, {"media/table/x.json": 0}, "is not there"),
        ({}, 2, {"media/table/x.json": 10}, "history's row"),
        ({}, None, {"media/table/x.json": 10}, "history's row"),
    ],
)
def test_what_is_not_there_is_named(
    summary: dict[str, object], step: int | None, files: dict[str, int], said: str
) -> None:
    found = Found(summary=whole_summary() | summary, last_step=step, files=files)

    lacks = readback.missing(a_small_job(), found)

    assert said in lacks
    assert (lacks == "") == (said == "")


def test_the_same_data_of_another_revision_are_there() -> None:
    found = Found(summary=whole_summary(), last_step=3, files={"media/table/x.json": 10})

    assert readback.missing(a_small_job(rev=2), found) == ""
    assert readback.missing(a_small_job(rev=2, scalars={"other": 1}), found) != ""


def test_alerts_do_not_change_what_the_data_are() -> None:
    job = a_small_job()

    assert replace(job, alerts=()).digest == job.digest
    assert replace(job, rev=2).digest != job.digest
    assert job.alerts[0].mark != replace(job.alerts[0], text="other").mark
