from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.api.calling import Caller
from tests.api.recording import STREAM, a_block, books, opened, others, points, send, stored

pytestmark = pytest.mark.usefixtures("burgers")


def test_what_comes_too_early_says_what_is_expected(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[1.0]))

    problem = send(admin, run_id, points(5, loss=[6.0]), status=409)

    assert (problem["expected"], problem["field"]) == (1, "first")


def test_a_bad_record_is_rejected_alone_and_again(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    batch = points(loss=[1.0, "1e3", 3.0])

    first, second = send(admin, run_id, batch), send(admin, run_id, batch)

    assert first["rejected"] == second["rejected"] == [{"idx": 1, "code": "bad_value"}]
    assert stored(sql, run_id)["loss"] == [(0, 1.0), (2, 3.0)]
    assert books(sql) == (3, 2, 1, 0, 3)


@pytest.mark.parametrize(
    ("name", "code"),
    [("x" * 257, "name_too_long"), ("a\nb", "bad_name"), ("nul\0", "bad_name"), ("", "bad_name")],
    ids=["too long", "line break", "NUL", "empty"],
)
def test_a_name_that_cannot_be_is_rejected(
    admin: Caller, sql: psycopg.Connection[Any], name: str, code: str
) -> None:
    run_id, _ = opened(admin)
    batch = {"first": 0, "count": 2, "blocks": [a_block(0, {name: [1.0]}), a_block(1, {"loss": [2.0]})]}

    answer = send(admin, run_id, batch)

    assert answer["rejected"] == [{"idx": 0, "code": code}]
    assert set(stored(sql, run_id)) == {"loss"}


def test_steps_beyond_64_bits_are_rejected_one_by_one(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    batch = points(loss=[1.0, 2.0, 3.0])
    batch["blocks"][0]["steps"] = [0, 2**63, -(2**63)]

    answer = send(admin, run_id, batch)

    assert answer["rejected"] == [{"idx": 1, "code": "bad_step"}]
    assert stored(sql, run_id)["loss"] == [(-(2**63), 3.0), (0, 1.0)]


BROKEN: dict[str, Any] = {
    "hole": {"first": 0, "count": 3, "blocks": [a_block(0, {"loss": [1.0]})]},
    "twice": {
        "first": 0,
        "count": 1,
        "blocks": [a_block(0, {"a": [1.0]}), a_block(0, {"b": [1.0]}, idx=[0])],
    },
    "not as many values": {"first": 0, "count": 2, "blocks": [a_block(0, {"a": [1.0, 2.0], "b": [1.0]})]},
    "negative": {"first": -1, "count": 0},
    "not a number": {"first": "0", "count": 0},
    "no times": {"first": 0, "count": 1, "blocks": [{"steps": [0], "metrics": {"a": [1.0]}}]},
    "gap backwards": {"first": 0, "count": 2, "other": [{"idx": 1, "until": 1, "type": "gap"}]},
    "gap over a record": {
        "first": 0,
        "count": 3,
        "blocks": [a_block(1, {"a": [1.0]}, idx=[1])],
        "other": [{"idx": 0, "until": 3, "type": "gap"}],
    },
    "idx descends": {"first": 0, "count": 2, "blocks": [a_block(0, {"a": [1.0, 2.0]}, idx=[1, 0])]},
    "idx beyond 64 bits": {"first": 0, "count": 1, "blocks": [a_block(0, {"a": [1.0]}, idx=[2**70])]},
    "empty block": {"first": 0, "count": 0, "blocks": [{"steps": [], "times": [], "metrics": {"a": []}}]},
    "no metric": {"first": 0, "count": 1, "blocks": [{"steps": [0], "times": [0.0], "metrics": {}}]},
    "too many at once": {"first": 0, "count": 10_001, "blocks": [a_block(0, {"a": [1.0] * 10_001})]},
    "role": {"first": 0, "count": 0, "role": "boss"},
    "attempt": {"first": 0, "count": 0, "attempt_id": "me"},
    "unknown attempt": {"first": 0, "count": 0, "attempt_id": str(uuid4())},
    "a list": [],
}


@pytest.mark.parametrize("batch", BROKEN.values(), ids=BROKEN.keys())
def test_a_batch_that_does_not_fit_together_is_refused_whole(
    admin: Caller, sql: psycopg.Connection[Any], batch: dict[str, Any]
) -> None:
    run_id, _ = opened(admin)

    problem = send(admin, run_id, batch, status=422)

    assert problem["detail"]
    assert sql.execute("SELECT count(*) FROM record_block").fetchone() == (0,)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"first": 0, "count": 1e400}',
        b'{"first": 0, "count": 0, "dropped": {"a": 1e400}}',
        b'{"first": 0, "count": 1, "blocks": [{"steps": [0], "times": [0], "metrics": {"\\ud800": [1]}}]}',
        b'{"first": 0, "count": 1, "other": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b"\xff\xfe",
    ],
    ids=["empty", "cut off", "1e400", "1e400 inside", "lone surrogate", "deep", "not UTF-8"],
)
def test_a_body_that_is_no_batch_is_an_error_that_says_so(admin: Caller, body: bytes) -> None:
    run_id, _ = opened(admin)

    response = admin.send("POST", f"/runs/{run_id}/streams/{STREAM}/records", content=body)

    assert response.status_code == 422, response.text
    assert response.json()["detail"]


def test_an_events_detail_that_cannot_be_stored_is_rejected(admin: Caller) -> None:
    run_id, _ = opened(admin)
    event = {"type": "event", "kind": "note", "level": "info", "title": "x"}

    answer = send(
        admin,
        run_id,
        others(
            0,
            {**event, "detail": {"a": "\0"}},
            {**event, "detail": {"a": 2**70}},
            {**event, "level": "loud"},
            {"type": "whatever"},
            {"type": "finish", "status": "running"},
            {**event, "time": 1e300},
            {**event, "detail": {"fine": [1, "NaN", None]}},
        ),
    )

    codes = {each["idx"]: each["code"] for each in answer["rejected"]}
    assert codes == {
        0: "bad_value",
        1: "bad_value",
        2: "bad_record",
        3: "bad_record",
        4: "bad_record",
        5: "bad_record",
    }


def test_a_run_token_appends_to_its_run_and_to_no_other(admin: Caller) -> None:
    attempt = {"attempt_id": str(uuid4())}
    mine = admin.put("/projects/burgers/runs/mine", attempt)
    theirs, _ = opened(admin, "theirs")
    worker = admin.with_token(mine["run_token"])

    assert send(worker, mine["run_id"], points(loss=[1.0]))["next_idx"] == 1
    send(worker, theirs, points(loss=[1.0]), status=403)
    send(admin.with_token(None), theirs, points(loss=[1.0]), status=401)
    admin.post("/projects", {"key": "other"})
    send(admin.as_role("reporter", "other"), theirs, points(loss=[1.0]), status=404)
    send(admin.as_role("viewer", "burgers"), theirs, points(loss=[1.0]), status=403)


def test_a_stream_keeps_its_attempt_role_and_rank(admin: Caller) -> None:
    run_id, first = opened(admin)
    _, second = opened(admin)
    send(admin, run_id, {**points(loss=[1.0]), "attempt_id": first})

    send(admin, run_id, {**points(1, loss=[1.0]), "attempt_id": second}, status=409)
    send(admin, run_id, {**points(1, loss=[1.0]), "rank": 1}, status=409)
    send(admin, run_id, {**points(1, loss=[1.0]), "role": "attach"}, status=409)
    assert send(admin, run_id, {**points(1, loss=[1.0]), "attempt_id": first})["next_idx"] == 2


def test_an_archived_run_takes_nothing(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[1.0]))
    admin.send("DELETE", f"/runs/{run_id}")

    problem = send(admin, run_id, points(1, loss=[1.0]), status=409)

    assert "archived" in problem["detail"]


def test_more_metrics_than_a_run_may_have_are_rejected_and_the_rest_goes_on(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    many = {f"m{i}": [1.0] for i in range(5000)}
    send(admin, run_id, {"first": 0, "count": 1, "blocks": [a_block(0, many)]})

    answer = send(admin, run_id, {"first": 1, "count": 1, "blocks": [a_block(1, {"one more": [1.0]})]})
    send(admin, run_id, {"first": 2, "count": 1, "blocks": [a_block(2, {"m7": [2.0]})]})

    assert answer["rejected"] == [{"idx": 1, "code": "too_many_metrics"}]
    assert sql.execute("SELECT count(*) FROM metric_series").fetchone() == (5000,)
    assert stored(sql, run_id)["m7"] == [(0, 1.0), (2, 2.0)]
