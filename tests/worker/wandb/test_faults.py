"""What may go wrong at W&B: never "delivered" falsely, never for long, and delivered once when it is over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.worker.wandb_jobs.order import Limits
from app.worker.wandb_jobs.outcome import Outcome, State
from app.worker.wandb_jobs.runner import Runner
from tests.worker.wandb.jobs import WORSE, a_runner, a_small_job, a_table, a_target, leftovers, processes_of
from tests.worker.wandb.standin import KEY, Answer, Asked, Standin

# Waits for a server that hangs are shortened; the whole is not, since a busy machine is slow at everything.
LIMITS = Limits(
    whole_seconds=45.0,
    init_seconds=10.0,
    finish_seconds=10.0,
    request_seconds=1.0,
    retries=1,
    shortest_wait_seconds=0.1,
    longest_wait_seconds=0.2,
    taken_seconds=10.0,
)
Fault = Callable[[Standin], Callable[[Asked], Answer]]


def at(op: str, answer: Answer) -> Fault:
    """The answer for one operation, kind of request, or everything (`*`)."""
    return lambda _standin: lambda asked: answer if op in (asked.op, asked.kind, "*") else None


def goes_down_at(op: str) -> Fault:
    """The server vanishes when it is first asked for that, and says nothing more."""
    return lambda standin: lambda asked: "vanish" if asked.op == op and not standin.is_down else None


def answer_is_lost(standin: Standin) -> Callable[[Asked], Answer]:
    """The alert is taken, and nobody learns of it."""

    def lose(asked: Asked) -> Answer:
        if asked.op != "NotifyScriptableRunAlert":
            return None
        standin.held.take_alert(dict(asked.body["variables"]))
        return 400, b"{}"

    return lose


# A row whose table was lost cannot be repaired, only followed by a whole one of the same content.
REPAIRED = {"upload 403", "upload 500", "upload hangs", "no upload address", "no upload address in time"} | {
    "no artifact",
    "artifact not committed",
    "artifact hangs",
}
REFUSED = json.dumps({"data": {"notifyScriptableRunAlert": {"success": False}}}).encode()
QUICK: dict[str, Fault] = {
    "all hangs": at("*", "hang:60"),
    "stream 400": at("stream", (400, b"{}")),
    "upload 403": at("upload", (403, b"")),
    "no artifact": at("CreateArtifact", (400, b"{}")),
    "alert 400": at("NotifyScriptableRunAlert", (400, b"{}")),
    "alert's answer lost": answer_is_lost,
    "down at start": goes_down_at("Viewer"),
    "down midway": goes_down_at("CreateArtifact"),
}
SLOW: dict[str, Fault] = {
    "stream 500": at("stream", (500, b"{}")),
    "stream drops": at("stream", "drop"),
    "stream hangs": at("stream", "hang:60"),
    "upload 500": at("upload", (500, b"")),
    "upload hangs": at("upload", "hang:60"),
    "no upload address": at("CreateRunFiles", (400, b"{}")),
    "no upload address in time": at("CreateRunFiles", "hang:60"),
    "artifact not committed": at("CommitArtifact", (400, b"{}")),
    "artifact hangs": at("CommitArtifact", "hang:60"),
    "alert 500": at("NotifyScriptableRunAlert", (500, b"{}")),
    "alert hangs": at("NotifyScriptableRunAlert", "hang:60"),
    "alert refused": at("NotifyScriptableRunAlert", (200, REFUSED)),
    "alert fails in GraphQL": at(
        "NotifyScriptableRunAlert", (200, b'{"errors":[{"message":"no"}],"data":null}')
    ),
    "429": at("*", (429, b"{}")),
    "500 at init": at("UpsertBucket", (500, b"{}")),
}


@dataclass(frozen=True)
class Seen:
    """One fault from its start to after its end."""

    during: Outcome
    seconds: float
    left: list[object]
    after: Outcome
    revs: set[int]
    rows: int
    alerts: list[str]
    table: object


def go_through(fault: Fault, place: Path) -> Seen:
    standin = Standin()
    runner, job, target = a_runner(place, standin, LIMITS), a_small_job(), a_target(standin)
    standin.fault = fault(standin)
    began = time.monotonic()
    during = runner.run(job, target, key=KEY)
    seconds = time.monotonic() - began
    left: list[object] = [*leftovers(place), *processes_of(place)]
    standin.fault = lambda _asked: None
    standin.come_back()
    after = runner.run(job, target, key=KEY)
    held = standin.run("eval-1")
    seen = Seen(
        during=during,
        seconds=seconds,
        left=left,
        after=after,
        revs={row["mirror/rev"] for row in held.rows},
        rows=len(held.rows),
        alerts=[each["title"] for each in standin.held.alerts],
        table=held.table("regression/comparison")["data"] if after.state is State.DELIVERED else None,
    )
    standin.stop()
    assert standin.unknown == []
    return seen


def test_a_fault_is_noticed_bounded_in_time_and_made_good_once(tmp_path: Path) -> None:
    faults = QUICK | (SLOW if os.environ.get("FAULTS_FULL") else {})

    # Most of the time they wait.
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(
                faults,
                pool.map(
                    go_through, faults.values(), (tmp_path / f"{number}-" for number in range(len(faults)))
                ),
                strict=True,
            )
        )

    print({name: (round(seen.seconds, 1), seen.rows, seen.during.reason) for name, seen in found.items()})
    assert {name: seen.during.state.value for name, seen in found.items()} == dict.fromkeys(faults, "retry")
    assert {name: seen.after.state.value for name, seen in found.items()} == dict.fromkeys(
        faults, "delivered"
    )
    assert {name for name, seen in found.items() if not seen.during.reason} == set()
    assert {name: seen.left for name, seen in found.items() if seen.left} == {}
    assert {
        name: seen.seconds for name, seen in found.items() if seen.seconds > LIMITS.whole_seconds + 10
    } == {}
    assert {name: seen.alerts for name, seen in found.items() if seen.alerts != [WORSE.title]} == {}
    expected = [list(row) for row in a_small_job().tables[0].rows]
    assert {name: seen.table for name, seen in found.items() if seen.table != expected} == {}
    assert {name: seen.revs for name, seen in found.items() if seen.revs != {1}} == {}
    assert {name for name, seen in found.items() if seen.rows == 2} <= REPAIRED
    assert {name: seen.rows for name, seen in found.items() if seen.rows > 2} == {}


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        (at("*", (401, b'{"errors":[{"message":"user is not logged in"}]}')), KEY),
        (at("*", (403, b'{"errors":[{"message":"no"}]}')), KEY),
        (at("UpsertBucket", (403, b'{"errors":[{"message":"permission denied"}]}')), KEY),
        (at("", None), "a-key-of-another-server-that-is-not-known-here"),
        (at("", None), "too-short"),
        (at("", None), ""),
    ],
    ids=["401", "403", "403 at writing", "wrong key", "short key", "no key"],
)
def test_who_is_not_let_in_pauses(standin: Standin, place: Path, fault: Fault, key: str) -> None:
    standin.fault = fault(standin)

    outcome = a_runner(place, standin).run(a_small_job(), a_target(standin), key=key)

    assert outcome.state is State.PAUSED
    assert outcome.reason
    assert key == "" or key not in outcome.reason
    assert standin.held.runs == {}


def test_what_wandb_does_not_take_is_refused_for_good(runner: Runner, standin: Standin) -> None:
    job = a_small_job(tables=(a_table("../outside"),))

    outcome = runner.run(job, a_target(standin), key=KEY)

    assert outcome.state is State.REFUSED
    assert "../outside" in outcome.reason


def test_a_child_that_never_ends_is_killed_in_time(standin: Standin, place: Path) -> None:
    standin.fault = at("*", "hang:60")(standin)
    began = time.monotonic()

    outcome = a_runner(place, standin, Limits(whole_seconds=3.0)).run(
        a_small_job(), a_target(standin), key=KEY
    )

    assert (outcome.state, outcome.reason) == (State.RETRY, "killed after 3 s")
    assert time.monotonic() - began < 20
    assert (leftovers(place), processes_of(place)) == ([], [])
