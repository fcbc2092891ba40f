"""The real wandb against the stand-in: what counts is what the server holds."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.worker.wandb_jobs.job import alert, table
from app.worker.wandb_jobs.order import Limits, Target
from app.worker.wandb_jobs.outcome import State
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_jobs.values import MOST_ROWS, Kind
from tests.worker.wandb.jobs import (
    ALERTS,
    a_job,
    a_runner,
    a_small_job,
    a_table,
    a_target,
    leftovers,
    processes_of,
)
from tests.worker.wandb.standin import KEY, Asked, Standin


def test_everything_is_there_the_key_is_in_no_file_and_nothing_is_left(
    runner: Runner, standin: Standin, place: Path
) -> None:
    job = a_job()
    seen: dict[str, bytes] = {}

    def look(asked: Asked) -> None:
        # The last thing before the end: all that the job writes is on disk.
        if asked.op == "RunHistoryKeys":
            seen.update({str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()})

    standin.fault = look
    outcome = runner.run(job, a_target(standin), key=KEY)

    assert (outcome.state, outcome.reason) == (State.DELIVERED, "")
    assert outcome.url == f"{standin.url}/team/burgers/runs/eval-1"
    held = standin.run("eval-1")
    assert held.table("regression/comparison") == {
        "columns": ["Status", "Group", "Worsening", "Required"],
        "data": [["regressed", "k=4,m=2", 2.93, True], ["pass", "k=1,m=1", None, False]],
    }
    assert held.table("physics/violations_table")["data"] == [["gap", 2], ["mass", 0]]
    assert held.table("ttc/reward_distribution_table")["data"] == [[1], [2], [2]]
    (row,) = held.rows
    assert (row["mirror/rev"], row["regression/status"], row["ttc/best"]) == (1, "regressed", "NaN")
    assert (held.summary["mirror/digest"], held.summary["leaderboard/metric_mse"]) == (job.digest, 0.25)
    assert held.values() == {"source": "https://ours/e/1", "step": 1200}
    assert set(held.config["_wandb"]["value"]["visualize"]) == {
        "physics/violations",
        "ttc/reward_trajectory",
        "ttc/reward_distribution",
    }
    assert (held.group, held.job_type, held.tags) == ("run-6", "evaluation", ["evaluation", "gate:closed"])
    assert (held.complete, held.exitcode, held.entity, held.project) == (True, 0, "team", "burgers")
    assert [
        (each["title"], each["text"], each["severity"], each["runName"]) for each in standin.held.alerts
    ] == [(each.title, each.text, each.level, "eval-1") for each in ALERTS]
    assert {each["state"] for each in standin.held.artifacts.values()} == {"COMMITTED"}

    expected = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
    assert {each.authorization for each in standin.asked if each.kind in ("graphql", "stream")} == {expected}
    assert {each.authorization for each in standin.asked if each.kind == "upload"} == {""}
    # No analytics, no metadata: every request is one that the stand-in was made for.
    assert {each.kind for each in standin.asked} == {"graphql", "stream", "upload"}
    assert any(path.endswith(".wandb") for path in seen)
    assert [path for path, content in seen.items() if KEY.encode() in content] == []
    assert (leftovers(place), processes_of(place)) == ([], [])


def test_a_second_time_only_reads_an_older_one_is_dropped_and_a_newer_one_is_the_next_row(
    runner: Runner, standin: Standin
) -> None:
    target = a_target(standin)
    assert runner.run(a_small_job(rev=2), target, key=KEY).state is State.DELIVERED
    standin.asked.clear()

    assert runner.run(a_small_job(rev=2), target, key=KEY).state is State.ALREADY
    assert {each.op for each in standin.asked} == {"Viewer", "Run", "RunFiles", "RunHistoryKeys"}

    assert runner.run(a_small_job(rev=1), target, key=KEY).state is State.STALE
    assert len(standin.run("eval-1").rows) == 1

    newer = a_small_job(rev=3, tables=(a_table("regression/comparison", ("pass", "all", 0.0, True)),))
    assert runner.run(newer, target, key=KEY).state is State.DELIVERED
    held = standin.run("eval-1")
    assert [(each["_step"], each["mirror/rev"]) for each in held.rows] == [(0, 2), (1, 3)]
    assert held.table("regression/comparison")["data"] == [["pass", "all", 0.0, True]]
    # The same alert as before, which people have been told.
    assert len(standin.held.alerts) == 1


def test_a_lost_table_is_found_and_written_again(runner: Runner, standin: Standin) -> None:
    target, job = a_target(standin), a_small_job()
    assert runner.run(job, target, key=KEY).state is State.DELIVERED
    held = standin.run("eval-1")
    held.files.pop(held.summary["regression/comparison"]["path"])

    assert runner.run(job, target, key=KEY).state is State.DELIVERED

    assert held.table("regression/comparison")["data"] == [list(row) for row in job.tables[0].rows]
    assert len(standin.held.alerts) == 1


HOSTILE = [
    ("NaN", float("nan"), 1.0),
    ("∞", float("-inf"), None),
    ("none", None, 2),
    ("emoji 🧪\0\ud800", 1e308, 2**70),
    ("<script>", "mixed", True),
]


EXPECTED = [
    ["NaN", "NaN", "1.0"],
    ["∞", "-Infinity", None],
    ["none", None, "2"],
    ["emoji 🧪?", "1e+308", "1.1805916207174113e+21"],
    ["<script>", "mixed", "true"],
]
GIVEN: dict[str, tuple[list[tuple[object, ...]], list[list[object]]]] = {
    "board/hostile": (HOSTILE, EXPECTED),
    "board/empty": ([], []),
    "board/begins_with_nothing": (
        [("a", None, None), ("b", 1.5, 2)],
        [["a", None, None], ["b", 1.5, 2]],
    ),
    "board/too_long": (
        [(f"row {at}", at, None) for at in range(10_001)],
        [[f"row {at}", at, None] for at in range(MOST_ROWS)],
    ),
}


def test_the_server_holds_clean_tables_whatever_was_given(runner: Runner, standin: Standin) -> None:
    kinds = {"Name": Kind.TEXT, "Value": Kind.NUMBER, "Other": Kind.NUMBER}
    tables = tuple(table(name, kinds, rows) for name, (rows, _) in GIVEN.items())
    long = alert("t" * 100 + "🧪", "x" * 100_000, "INFO")

    outcome = runner.run(a_small_job(tables=tables, alerts=(long,)), a_target(standin), key=KEY)

    assert (outcome.state, outcome.reason) == (State.DELIVERED, "")
    held = standin.run("eval-1")
    # `table` refuses NaN and Infinity, which are no JSON.
    assert {name: held.table(name) for name in GIVEN} == {
        name: {"columns": list(kinds), "data": expected} for name, (_, expected) in GIVEN.items()
    }
    assert [each.total for each in tables] == [5, 0, 2, 10_001]
    (sent,) = standin.held.alerts
    assert (len(sent["title"]), len(sent["text"]), sent["severity"]) == (63, 2_000, "INFO")


@pytest.mark.skipif(not os.environ.get("FAULTS_FULL"), reason="wandb asks only every 15 s whether to stop")
def test_stop_run_on_the_page_stops_nothing(standin: Standin, place: Path) -> None:
    standin.stops_runs = True
    nobody_sets_it, held = threading.Event(), list[str]()

    # Of an upload, since wandb learns of nothing while it sends an alert.
    def slow(asked: Asked) -> None:
        if asked.kind == "upload" and not held:
            held.append(asked.op)
            nobody_sets_it.wait(25)

    standin.fault = slow
    patient = Limits(request_seconds=30.0, taken_seconds=30.0)

    outcome = a_runner(place, standin, patient).run(a_small_job(), a_target(standin), key=KEY)

    assert (outcome.state, outcome.reason) == (State.DELIVERED, "")
    assert held


def test_two_runners_one_after_the_other_leave_the_newest_whatever_their_order(
    standin: Standin, tmp_path: Path
) -> None:
    runners = [a_runner(tmp_path / f"worker-{number}", standin) for number in range(2)]
    lock = threading.Lock()

    def deliver(number: int) -> State:
        job = a_small_job("leaderboard-burgers", rev=number, scalars={"leaderboard/rows": number}, alerts=())
        # The dispatcher's lock: one job at a time for one W&B run.
        with lock:
            return runners[number % 2].run(job, a_target(standin), key=KEY).state

    with ThreadPoolExecutor(4) as pool:
        states = set(pool.map(deliver, (2, 1, 3)))

    assert states <= {State.DELIVERED, State.STALE}
    held = standin.run("leaderboard-burgers")
    assert (held.summary["mirror/rev"], held.summary["leaderboard/rows"]) == (3, 3)
    revs = [row["mirror/rev"] for row in held.rows]
    assert revs == sorted(set(revs))
    assert [row["_step"] for row in held.rows] == list(range(len(revs)))


def test_a_key_is_sent_only_where_it_may_and_only_https_or_loopback(runner: Runner, standin: Standin) -> None:
    elsewhere = Target(base_url="http://127.0.0.1:9", entity="team", project="burgers")
    plain = Runner(place=runner.place, allowed=frozenset({"http://wandb.example.org"}))

    assert runner.run(a_job(), elsewhere, key=KEY).state is State.REFUSED
    refused = plain.run(
        a_job(), Target(base_url="http://wandb.example.org/", entity="t", project="p"), key=KEY
    )

    assert (refused.state, "https" in refused.reason) == (State.REFUSED, True)
    assert standin.asked == []
    assert not runner.place.exists()


def test_the_environment_of_the_worker_is_not_the_childs(standin: Standin, place: Path) -> None:
    environ = {
        **os.environ,
        "WANDB_PROJECT": "other",
        "WANDB_MODE": "disabled",
        "DATABASE_URL": "postgresql://secret",
    }
    seen: list[dict[str, str]] = []

    def look(asked: Asked) -> None:
        if asked.op == "UpsertBucket" and not seen:
            seen.extend(environments_of(place))

    standin.fault = look
    outcome = a_runner(place, standin, environ=environ).run(a_small_job(), a_target(standin), key=KEY)

    assert outcome.state is State.DELIVERED
    # The child and wandb's helper.
    assert len(seen) >= 2
    for each in seen:
        assert {"WANDB_PROJECT", "WANDB_MODE", "DATABASE_URL"} & each.keys() == set()
        assert each["HOME"].startswith(str(place))


def environments_of(place: Path) -> list[dict[str, str]]:
    import psutil

    found = []
    for process in psutil.process_iter():
        # Processes of others come and go while they are looked at.
        with contextlib.suppress(psutil.Error):
            if process.uids().real == os.getuid() and any(str(place) in part for part in process.cmdline()):
                found.append(process.environ())
    return found
