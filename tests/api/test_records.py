from __future__ import annotations

import gzip
import json
import math
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.calling import Caller
from tests.api.recording import STREAM, a_block, books, opened, others, points, send, stored, summary

pytestmark = pytest.mark.usefixtures("burgers")


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


# Up to 256 chunks are written in another way than more of them.
@pytest.mark.parametrize("series", [1, 256, 257])
def test_every_series_of_a_wide_batch_has_its_own_values(
    admin: Caller, sql: psycopg.Connection[Any], series: int
) -> None:
    run_id, _ = opened(admin)

    send(admin, run_id, points(**{f"m{i}": [float(i), -float(i)] for i in range(series)}))

    assert stored(sql, run_id) == {f"m{i}": [(0, float(i)), (1, -float(i))] for i in range(series)}
