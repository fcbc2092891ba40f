from __future__ import annotations

import json
import math
import random
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api.calling import Caller
from tests.api.recording import a_block, opened, others, points, send

pytestmark = pytest.mark.usefixtures("burgers")


def curve(admin: Caller, run_id: str, metric: str = "loss", **query: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = admin.get(f"/runs/{run_id}/history", query={"metric": metric, **query})[
        "series"
    ]
    assert len(found) == 1
    return found[0]


def resumed(admin: Caller) -> str:
    """A run whose second attempt took over at step 2."""
    run_id, first = opened(admin)
    send(admin, run_id, {**points(loss=[5.0, 4.0, 3.0, 0.001]), "attempt_id": first})
    _, second = opened(admin)
    again = points(loss=[2.0, 1.0])
    again["blocks"][0]["steps"] = [2, 3]
    send(admin, run_id, {**again, "attempt_id": second}, stream=uuid4())
    return run_id


def test_points_come_back_as_they_were_logged(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[0.1, "NaN", "-Infinity", 5e-324]))

    found = curve(admin, run_id)

    assert found["values"] == [0.1, "NaN", "-Infinity", 5e-324]
    assert found["steps"] == [0, 1, 2, 3]
    assert found["times"][0] == 1_795_176_000.0
    assert (found["count"], found["thinned"], found["attempts"]) == (4, False, [{"attempt": 1, "from": 0}])


def test_attempts_are_laid_one_after_the_other(admin: Caller) -> None:
    run_id = resumed(admin)

    found = curve(admin, run_id)

    assert (found["steps"], found["values"]) == ([0, 1, 2, 3], [5.0, 4.0, 2.0, 1.0])
    assert found["attempts"] == [{"attempt": 1, "from": 0}, {"attempt": 2, "from": 2}]
    assert curve(admin, run_id, attempt="1")["values"] == [5.0, 4.0, 3.0, 0.001]
    rows = admin.get(f"/runs/{run_id}/attempts")["items"]
    assert [(row["attempt"], row["cut"], row["first_step"]) for row in rows] == [(1, 2, 0), (2, None, 2)]


def test_summaries_are_folded_over_attempts(admin: Caller) -> None:
    run_id = resumed(admin)

    (whole,) = admin.get(f"/runs/{run_id}/metrics")["items"]
    each = admin.get(f"/runs/{run_id}/metrics", query={"per": "attempt"})["items"]

    assert (whole["count"], whole["first"], whole["last"], whole["min"], whole["min_step"]) == (
        4,
        5.0,
        1.0,
        1.0,
        3,
    )
    assert [(part["attempt"], part["min"]) for part in each] == [(1, 4.0), (2, 1.0)]


def test_records_that_arrive_out_of_order_are_shown_by_step(admin: Caller) -> None:
    run_id, _ = opened(admin)
    batch = points(loss=[1.0, 2.0, 3.0, 4.0])
    batch["blocks"][0]["steps"] = [7, 3, 5, 3]
    send(admin, run_id, batch)

    found = curve(admin, run_id)

    assert (found["steps"], found["values"]) == ([3, 3, 5, 7], [2.0, 4.0, 3.0, 1.0])


def test_a_range_of_steps_is_exact_and_a_long_history_is_thinned(admin: Caller) -> None:
    run_id, _ = opened(admin)
    values = [math.sin(i) for i in range(5000)]
    values[1234] = 50.0
    send(admin, run_id, points(loss=values))

    thin = curve(admin, run_id, max_points="100")
    near = curve(admin, run_id, from_step="1230", to_step="1240")
    every = curve(admin, run_id, max_points="all")

    assert (thin["count"], thin["thinned"]) == (5000, True)
    assert len(thin["values"]) <= 100
    assert 50.0 in thin["values"]
    assert near["values"] == values[1230:1241]
    assert every["values"] == values


def test_every_point_shown_has_its_own_time_value_and_attempt(admin: Caller) -> None:
    run_id, _ = opened(admin)
    draw = random.Random(1)
    logged: dict[int, list[Point]] = {1: [], 2: []}
    for first in range(0, 400, 40):
        # Later blocks go back: what is shown is in another order than what is stored.
        steps = [step // 3 * 3 - first % 80 for step in range(first, first + 40)]
        logged[1] += log(admin, run_id, first, steps, draw, attempt=1)
    opened(admin, resume_step=250)
    logged[2] += log(admin, run_id, 0, list(range(250, 370, 2)), draw, attempt=2)

    def is_in_view(point: Point) -> bool:
        return point[0] == 2 or point[1] < 250

    every = [*filter(is_in_view, logged[1]), *logged[2]]
    for asked, there in (
        ({}, every),
        ({"from_step": 37, "to_step": 301}, [point for point in every if 37 <= point[1] <= 301]),
        ({"attempt": 1}, logged[1]),
    ):
        # Points of one step stay in the order in which they were logged.
        in_order = sorted(there, key=lambda point: point[1])
        thinned = laid_out(admin, run_id, max_points=60, **asked)

        assert laid_out(admin, run_id, max_points="all", **asked) == in_order
        assert laid_out(admin, run_id, max_points=500, **asked) == in_order
        assert 8 < len(thinned) <= 60
        following = iter(in_order)
        assert all(point in following for point in thinned), asked


def test_a_long_history_of_many_blocks_and_attempts_is_thinned_to_its_own_points(admin: Caller) -> None:
    run_id, _ = opened(admin)
    draw = random.Random(2)
    logged: dict[int, list[Point]] = {1: [], 2: []}
    for first in range(0, 400, 40):
        logged[1] += log(admin, run_id, first, list(range(first, first + 40)), draw, attempt=1)
    opened(admin, resume_step=250)
    for first in range(0, 300, 60):
        # Not regular, so that its steps are stored one by one.
        steps = [250 + (step * 3) // 2 for step in range(first, first + 60)]
        logged[2] += log(admin, run_id, first, steps, draw, attempt=2)
    there = [*(point for point in logged[1] if point[1] < 250), *logged[2]]

    for low, high in ((0, 10_000), (37, 301), (250, 600)):
        own = [point for point in there if low <= point[1] <= high]
        whole = [point for point in own if point[3] != "NaN"]
        shown = laid_out(admin, run_id, max_points=60, from_step=low, to_step=high)

        assert (shown[0], shown[-1]) == (own[0], own[-1])
        assert set(shown) <= set(own)
        assert len(shown) <= 60
        assert {min(whole, key=lambda point: point[3]), max(whole, key=lambda point: point[3])} <= set(shown)
    assert curve(admin, run_id, from_step="9000", max_points="60")["values"] == []


# attempt, step, time, value
Point = tuple[int, int, float, Any]


def log(
    admin: Caller, run_id: str, first: int, steps: list[int], draw: random.Random, *, attempt: int
) -> list[Point]:
    times = [draw.random() for _ in steps]
    values = [draw.choice([draw.random(), "NaN"]) for _ in steps]
    batch = points(first, loss=values)
    batch["blocks"][0] |= {"steps": steps, "times": times}
    send(admin, run_id, batch, stream=UUID(int=attempt))
    return [(attempt, *point) for point in zip(steps, times, values, strict=True)]


def laid_out(admin: Caller, run_id: str, **asked: Any) -> list[Point]:
    """Every point of the loss that is shown."""
    found = curve(admin, run_id, **asked)
    parts = found["attempts"]
    numbers = [
        next(part["attempt"] for part in reversed(parts) if part["from"] <= i)
        for i in range(len(found["steps"]))
    ]
    return list(zip(numbers, found["steps"], found["times"], found["values"], strict=True))


def test_series_are_found_by_group_stage_and_split(admin: Caller) -> None:
    run_id, _ = opened(admin)
    block = a_block(
        0, {"loss": [1.0]}, stage="operator", groups={"k=4": {"loss": [2.0]}, "k=5": {"loss": [3.0]}}
    )
    send(admin, run_id, {"first": 0, "count": 1, "blocks": [block]})

    assert curve(admin, run_id, group="k=5")["values"] == [3.0]
    assert curve(admin, run_id, group="")["values"] == [1.0]
    items = admin.get(f"/runs/{run_id}/metrics", query={"stage": "operator", "prefix": "lo"})["items"]
    assert [item["group"] for item in items] == [None, "k=4", "k=5"]
    assert len(admin.get(f"/runs/{run_id}/history", query={"metric": "loss"})["series"]) == 3


def test_metrics_come_page_by_page(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, {"first": 0, "count": 1, "blocks": [a_block(0, {f"m{i}": [1.0] for i in range(7)})]})

    names, cursor = [], None
    for _ in range(4):
        page = admin.get(
            f"/runs/{run_id}/metrics", query={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        names += [item["metric"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert (names, cursor) == ([f"m{i}" for i in range(7)], None)


def test_csv_has_a_line_for_each_point_and_keeps_a_spreadsheet_from_running_it(admin: Caller) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, {"first": 0, "count": 2, "blocks": [a_block(0, {"=loss": [0.1, "NaN"]})]})

    text = admin.send("GET", f"/runs/{run_id}/history", query={"metric": "=loss", "format": "csv"}).text

    assert text.splitlines() == [
        "metric,group,stage,split,rank,attempt,step,time,value",
        "'=loss,,,,0,1,0,1795176000.0,0.1",
        "'=loss,,,,0,1,1,1795176001.0,NaN",
    ]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"metric": "none such"}, 404, None),
        ({"metric": "loss", "max_points": "7"}, 422, "max_points"),
        ({"metric": "loss", "max_points": "many"}, 422, "max_points"),
        ({"metric": "loss", "attempt": "0"}, 422, "attempt"),
        ({"metric": "lo\0ss"}, 422, "metric"),
        ({}, 422, "metric"),
    ],
    ids=["unknown", "too few", "words", "attempt 0", "NUL", "none"],
)
def test_a_question_that_cannot_be_meant_says_so(
    admin: Caller, query: dict[str, str], status: int, field: str | None
) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, points(loss=[1.0]))

    response = admin.send("GET", f"/runs/{run_id}/history", query=query)

    assert (response.status_code, response.json()["field"]) == (status, field)


def test_the_books_say_where_every_record_is(admin: Caller) -> None:
    run_id, _ = opened(admin)
    batch = points(loss=[1.0, "bad"])
    batch["other"] = [{"idx": 2, "until": 5, "type": "gap", "reason": "queue_full"}]
    send(admin, run_id, {**batch, "count": 5, "logged": 9, "dropped": {"not_a_number": 2}})

    (stream,) = admin.get(f"/runs/{run_id}/streams")["items"]

    told = {name: stream[name] for name in ("logged", "stored", "rejected", "gaps", "in_flight")}
    assert told == {"logged": 9, "stored": 1, "rejected": 1, "gaps": 3, "in_flight": 4}
    assert (stream["dropped"], stream["lost"]) == (
        {"not_a_number": 2},
        [{"first": 2, "until": 5, "reason": "queue_full"}],
    )


def test_events_come_newest_first_and_page_by_page(admin: Caller) -> None:
    run_id, _ = opened(admin)
    event = {"type": "event", "kind": "note", "level": "info"}
    send(admin, run_id, others(0, *({**event, "title": str(i), "time": 1000.0 + i // 2} for i in range(5))))

    titles, cursor = [], None
    for _ in range(3):
        page = admin.get(
            f"/runs/{run_id}/events", query={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        titles += [item["title"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert (titles, cursor) == (["4", "3", "2", "1", "0"], None)
    assert admin.get(f"/runs/{run_id}/events", query={"kind": "other"})["items"] == []


def test_runs_are_sorted_by_a_metric_with_what_is_not_finite_and_absent_last(admin: Caller) -> None:
    logged = {"a": [3.0, 1.0], "b": [0.5, 2.0], "c": ["NaN", "NaN"], "d": None, "e": [9.0, "Infinity"]}
    for key, values in logged.items():
        run_id, _ = opened(admin, key)
        if values is not None:
            send(
                admin,
                run_id,
                {"first": 0, "count": 2, "blocks": [a_block(0, {"val/acc": values})]},
                stream=uuid4(),
            )

    def keys(sort: str) -> list[str]:
        found, cursor = [], None
        for _ in range(5):
            query = {"sort": sort, "limit": 1, **({"cursor": cursor} if cursor else {})}
            page = admin.get("/projects/burgers/runs", query=query)
            found += [item["key"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert cursor is None
        return found

    assert keys("min:val/acc")[:3] == ["b", "a", "e"]
    assert keys("-max:val/acc")[:3] == ["e", "a", "b"]
    assert keys("last:val/acc")[:2] == ["a", "b"]
    assert keys("last:val/acc")[-1] == "d"
    assert keys("first:val/acc")[:3] == ["b", "a", "e"]


def test_runs_show_the_summaries_of_the_metrics_asked_for(admin: Caller) -> None:
    run_id = resumed(admin)

    (row,) = admin.get("/projects/burgers/runs", query={"metric": ["loss", "none"]})["items"]

    assert row["run_id"] == run_id
    assert row["metrics"] == {"loss": {"count": 4, "first": 5.0, "last": 1.0, "min": 1.0, "max": 5.0}}


def test_who_listens_hears_new_points_from_where_they_were_and_the_end(admin: Caller) -> None:
    run_id, _ = opened(admin)
    stream = uuid4()
    send(admin, run_id, points(loss=[1.0, "NaN", 3.0], other=[1.0, 2.0, 3.0]), stream=stream)
    send(admin, run_id, others(3, {"type": "finish", "status": "finished"}), stream=stream)

    text = admin.send(
        "GET",
        f"/runs/{run_id}/live",
        query={"metric": "loss"},
        headers={"Last-Event-ID": f"{stream}:1"},
    ).text

    events = [
        dict(line.split(": ", 1) for line in event.splitlines()) for event in text.strip().split("\n\n")
    ]
    assert [event["event"] for event in events] == ["points", "end"]
    (told,) = json.loads(events[0]["data"])["series"]
    assert (told["metric"], told["steps"], told["values"]) == ("loss", [1, 2], ["NaN", 3.0])
    assert events[0]["id"] == f"{stream}:4"
