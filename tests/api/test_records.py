from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.calling import Caller, an_admin
from tests.api.recording import STREAM, a_block, opened, others, points, send


@pytest.fixture
def admin(database_url: str) -> Iterator[Caller]:
    with an_admin(database_url) as admin:
        admin.post("/projects", {"key": "burgers"})
        yield admin


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def stored(sql: psycopg.Connection[Any], run_id: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each series, by record."""
    rows = sql.execute(
        """
        SELECT concat_ws('/', nullif(m.stage, ''), nullif(m.split, ''), nullif(m.group_name, ''), m.name), b.step_start,
               b.step_stride, b.steps, c."values"
        FROM metric_chunk c JOIN record_block b ON b.run_id = c.run_id AND b.id = c.block_id
        JOIN metric_series m ON m.run_id = c.run_id AND m.id = c.series_id
        WHERE c.run_id = %s ORDER BY b.first_idx, b.id
        """,
        (run_id,),
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for name, start, stride, steps, values in rows:
        listed = steps or [start + i * stride for i in range(len(values))]
        found.setdefault(name, []).extend(zip(listed, values, strict=True))
    return {name: sorted(pairs, key=lambda pair: pair[0]) for name, pairs in found.items()}


def summary(sql: psycopg.Connection[Any], run_id: str, name: str, attempt: int = 1) -> tuple[Any, ...] | None:
    return sql.execute(
        """
        SELECT s.count, s.non_finite, s.first_value, s.last_value, s.min_value, s.min_step, s.max_value, s.max_step
        FROM metric_summary s JOIN metric_series m ON m.run_id = s.run_id AND m.id = s.series_id
        WHERE s.run_id = %s AND m.name = %s AND s.attempt = %s
        """,
        (run_id, name, attempt),
    ).fetchone()


def books(sql: psycopg.Connection[Any]) -> tuple[int, ...]:
    """(next_idx, stored, rejected, gaps, logged) of the one stream."""
    rows = sql.execute("SELECT next_idx, stored, rejected, gaps, logged FROM stream").fetchall()
    assert len(rows) == 1
    found: tuple[int, ...] = rows[0]
    return found


def test_points_are_stored_and_acknowledged(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, attempt_id = opened(admin)
    batch = {**points(loss=[3.0, "NaN", 1.0], acc=[0.1, 0.2, "Infinity"]), "attempt_id": attempt_id}

    answer = send(admin, run_id, batch)

    assert (answer["next_idx"], answer["rejected"], answer["stop"]) == (3, [], False)
    found = stored(sql, run_id)
    assert found["acc"] == [(0, 0.1), (1, 0.2), (2, math.inf)]
    assert math.isnan(found["loss"][1][1])
    assert books(sql) == (3, 3, 0, 0, 3)
    assert summary(sql, run_id, "loss") == (3, 1, 3.0, 1.0, 1.0, 2, 3.0, 0)
    assert summary(sql, run_id, "acc") == (3, 1, 0.1, math.inf, 0.1, 0, 0.2, 1)


def test_a_replay_is_skipped_and_a_batch_cut_anew_goes_on(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[1.0, 2.0, 3.0]))

    assert send(admin, run_id, points(loss=[1.0, 2.0, 3.0]))["next_idx"] == 3
    assert send(admin, run_id, points(1, loss=[2.0, 3.0, 4.0]))["next_idx"] == 4

    assert stored(sql, run_id)["loss"] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    assert summary(sql, run_id, "loss") == (4, 0, 1.0, 4.0, 1.0, 0, 4.0, 3)


def test_what_comes_too_early_says_what_is_expected(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[1.0]))

    problem = send(admin, run_id, points(5, loss=[6.0]), status=409)

    assert (problem["expected"], problem["field"]) == (1, "first")


def test_a_gap_takes_the_place_of_what_never_came(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    gap = {"idx": 0, "until": 1_000_000, "type": "gap", "reason": "queue_full"}

    answer = send(admin, run_id, {"first": 0, "count": 1_000_000, "other": [gap], "logged": 1_000_005})
    send(admin, run_id, {"first": 999_999, "count": 1, "other": [{**gap, "idx": 999_999}]})
    send(admin, run_id, points(1_000_000, loss=[1.0]))

    assert answer["next_idx"] == 1_000_000
    assert books(sql) == (1_000_001, 1, 0, 1_000_000, 1_000_005)
    assert sql.execute("SELECT first, until, reason FROM record_gap").fetchall() == [
        (0, 1_000_000, "queue_full")
    ]


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


def test_groups_stages_splits_and_ranks_are_series_of_their_own(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, _ = opened(admin)
    block = a_block(0, {"loss": [1.0]}, stage="operator", split="val", groups={"k=4,m=2": {"loss": [2.0]}})

    send(admin, run_id, {"first": 0, "count": 1, "blocks": [block]})
    send(admin, run_id, {**points(loss=[3.0]), "rank": 1}, stream=uuid4())

    rows = sql.execute(
        "SELECT name, group_name, stage, split, rank FROM metric_series ORDER BY rank, group_name"
    )
    assert rows.fetchall() == [
        ("loss", "", "operator", "val", 0),
        ("loss", "k=4,m=2", "operator", "val", 0),
        ("loss", "", "", "", 1),
    ]


def test_alternating_calls_travel_as_two_blocks(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    train = a_block(0, {"loss": [1.0, 2.0]}, idx=[0, 2])
    val = a_block(0, {"val": [3.0, 4.0]}, idx={"start": 1, "stride": 2})

    send(admin, run_id, {"first": 0, "count": 4, "blocks": [train, val]})
    send(admin, run_id, {"first": 0, "count": 4, "blocks": [train, val]})

    assert stored(sql, run_id) == {"loss": [(0, 1.0), (1, 2.0)], "val": [(0, 3.0), (1, 4.0)]}
    assert books(sql)[0] == 4


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


def test_gzip_is_read(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    body = gzip.compress(json.dumps(points(loss=[1.0])).encode())

    response = admin.send(
        "POST",
        f"/runs/{run_id}/streams/{STREAM}/records",
        content=body,
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 200, response.text
    assert stored(sql, run_id) == {"loss": [(0, 1.0)]}


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


def test_summary_patches_and_the_end_change_the_run(admin: Caller) -> None:
    run_id, _ = opened(admin)

    send(
        admin,
        run_id,
        others(
            0,
            {"type": "summary", "values": {"best": 0.1, "note": "x"}},
            {"type": "summary", "values": {"best": 0.05, "note": None, "worst": "NaN"}},
            {"type": "finish", "status": "failed", "error": "RuntimeError: boom", "exit_code": 1},
        ),
    )

    run = admin.get(f"/runs/{run_id}")
    assert (run["status"], run["summary"]) == ("failed", {"best": 0.05, "worst": "NaN"})


def test_an_older_attempt_changes_neither_state_nor_summary(admin: Caller) -> None:
    run_id, first = opened(admin)
    send(admin, run_id, {**points(loss=[1.0]), "attempt_id": first})
    opened(admin)

    ends = others(1, {"type": "finish", "status": "failed"}, {"type": "summary", "values": {"best": 1}})
    send(admin, run_id, {**ends, "attempt_id": first})

    run = admin.get(f"/runs/{run_id}")
    assert (run["status"], run["summary"]) == ("running", {})


def test_what_attaches_changes_neither_state_nor_summary(admin: Caller) -> None:
    run_id, _ = opened(admin)
    ends = others(0, {"type": "finish", "status": "failed"}, {"type": "summary", "values": {"best": 1}})

    send(admin, run_id, {**ends, "role": "attach", "attempt_id": str(uuid4())})

    run = admin.get(f"/runs/{run_id}")
    assert (run["status"], run["summary"]) == ("running", {})


def test_a_lucky_value_of_a_branch_that_was_left_is_not_the_best(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, first = opened(admin)
    send(admin, run_id, {**points(loss=[5.0, 4.0, 3.0, 0.001]), "attempt_id": first})
    _, second = opened(admin)
    stream = uuid4()
    again = points(loss=[2.0, 1.0])
    again["blocks"][0]["steps"] = [2, 3]

    send(admin, run_id, {**again, "attempt_id": second}, stream=stream)
    # And what the first attempt still had on its disk.
    send(admin, run_id, {**points(4, loss=[0.0001]), "attempt_id": first})

    assert summary(sql, run_id, "loss", 1) == (2, 0, 5.0, 4.0, 4.0, 1, 5.0, 0)
    assert summary(sql, run_id, "loss", 2) == (2, 0, 2.0, 1.0, 1.0, 3, 2.0, 2)
    assert len(stored(sql, run_id)["loss"]) == 7


def test_resuming_at_a_step_cuts_before_a_point_is_logged(
    admin: Caller, sql: psycopg.Connection[Any]
) -> None:
    run_id, first = opened(admin)
    send(admin, run_id, {**points(loss=[5.0, 4.0, 0.001]), "attempt_id": first})

    opened(admin, resume_step=2)

    assert summary(sql, run_id, "loss", 1) == (2, 0, 5.0, 4.0, 4.0, 1, 5.0, 0)


def test_a_request_to_stop_reaches_the_training(admin: Caller) -> None:
    run_id, _ = opened(admin)
    assert not send(admin, run_id, points(loss=[1.0]))["stop"]

    admin.post(f"/runs/{run_id}/stop", {"stop": True})

    assert send(admin, run_id, {"first": 1, "count": 0})["stop"]


def test_a_limit_that_is_broken_while_training_alerts_once(admin: Caller) -> None:
    admin.put("/projects/burgers/policy", {"rule": [{"metric": "gap", "max": 5.0, "points": 3}]})
    run_id, _ = opened(admin)

    send(admin, run_id, points(gap=[1.0, 6.0, 6.0]))
    assert admin.get("/projects/burgers/alerts")["items"] == []
    send(admin, run_id, points(3, gap=[7.0]))
    send(admin, run_id, points(4, gap=[9.0] * 10))

    (alert,) = admin.get("/projects/burgers/alerts")["items"]
    assert (alert["kind"], alert["level"], alert["count"], alert["suite"]) == (
        "training_limit",
        "error",
        1,
        None,
    )
    assert "gap is 7 at step 3" in alert["lines"][0]["text"]


def test_what_a_training_raises_itself_reaches_the_inbox(admin: Caller) -> None:
    run_id, _ = opened(admin)
    event = {"type": "event", "kind": "alert", "level": "warn", "title": "spike", "detail": {"text": "at 7"}}

    send(admin, run_id, others(0, event, event))

    (alert,) = admin.get("/projects/burgers/alerts")["items"]
    assert (alert["title"], alert["count"], alert["lines"][0]["text"]) == ("run: spike", 2, "at 7")


RECORDS = st.lists(
    st.tuples(st.sampled_from(["loss", "val", "both", "event", "bad"]), st.integers(0, 50)),
    min_size=1,
    max_size=14,
)


def _sliced(records: list[tuple[str, int]], first: int, until: int) -> dict[str, Any]:
    """The batch that holds these records of the stream."""
    blocks, other = [], []
    for idx, (kind, step) in enumerate(records[first:until], first):
        if kind == "event":
            other.append({"idx": idx, "type": "event", "time": 1.0, "kind": "note", "title": str(idx)})
            continue
        values: dict[str, list[Any]] = {"loss": [float(idx)], "val": [idx / 2]}
        metrics = values if kind == "both" else {"loss": ["bad"]} if kind == "bad" else {kind: values[kind]}
        blocks.append({"idx": [idx], "steps": [step], "times": [1.0], "metrics": metrics})
    return {"first": first, "count": until - first, "blocks": blocks, "other": other}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=8))
def test_however_a_stream_is_cut_and_repeated_it_ends_the_same(
    admin: Caller,
    sql: psycopg.Connection[Any],
    records: list[tuple[str, int]],
    slices: list[tuple[int, int]],
) -> None:
    run_id, _ = opened(admin, f"run-{uuid4()}")
    stream, reached = uuid4(), 0
    for a, b in [*slices, (0, len(records)), (0, len(records))]:
        first, until = sorted((min(a, len(records)), min(b, len(records))))
        if first > reached:
            problem = send(admin, run_id, _sliced(records, first, until), stream=stream, status=409)
            assert problem["expected"] == reached
            continue
        answer = send(admin, run_id, _sliced(records, first, until), stream=stream)
        reached = max(reached, until)
        assert answer["next_idx"] == reached
        bad = [idx for idx in range(first, until) if records[idx][0] == "bad"]
        assert [each["idx"] for each in answer["rejected"]] == bad

    wanted: dict[str, list[tuple[int, float]]] = {}
    for idx, (kind, step) in enumerate(records):
        if kind in ("loss", "both"):
            wanted.setdefault("loss", []).append((step, float(idx)))
        if kind in ("val", "both"):
            wanted.setdefault("val", []).append((step, idx / 2))
    found = stored(sql, run_id)
    assert {name: sorted(pairs) for name, pairs in found.items()} == {
        name: sorted(pairs) for name, pairs in wanted.items()
    }
    for name, pairs in wanted.items():
        values = [value for _, value in pairs]
        told = summary(sql, run_id, name)
        assert told is not None
        assert (told[0], told[4], told[6]) == (len(values), min(values), max(values))
        last_step = max(step for step, _ in pairs)
        assert told[3] == [value for step, value in pairs if step == last_step][-1]
    row = sql.execute(
        "SELECT next_idx, stored + rejected FROM stream WHERE run_id = %s", (run_id,)
    ).fetchone()
    assert row == (len(records), len(records))
