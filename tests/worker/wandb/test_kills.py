"""SIGKILL in the middle: one row, one alert, no orphan, no directory, whoever is killed and wherever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from app.worker.wandb_jobs.outcome import Outcome, State
from app.worker.wandb_jobs.runner import Runner
from tests.worker.wandb.jobs import WORSE, a_runner, a_small_job, a_target, leftovers, processes_of
from tests.worker.wandb.standin import KEY, Answer, Asked, Standin

ROOT = Path(__file__).parents[3]
AT = ["UpsertBucket", "CreateArtifactFiles", "NotifyScriptableRunAlert", "stream", "RunFiles"]
MORE = [
    "Viewer",
    "RunResumeStatus",
    "CreateArtifact",
    "upload",
    "CommitArtifact",
    "CreateRunFiles",
    "RunHistoryKeys",
]
PATIENCE_SECONDS = 30.0


def once_at(op: str, kill: Callable[[], object]) -> Callable[[Asked], Answer]:
    """Kill when that is first asked for; the request itself is answered, to nobody."""
    done: list[str] = []

    def fault(asked: Asked) -> Answer:
        if op in (asked.op, asked.kind) and not done:
            done.append(op)
            kill()
        return None

    return fault


def kill_child(place: Path) -> None:
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except psutil.Error:
            continue
        if "app.worker.wandb_jobs.child" in arguments and any(str(place) in part for part in arguments):
            process.kill()


@dataclass(frozen=True)
class Seen:
    killed: str
    left: list[object]
    after: Outcome
    rows: list[int]
    alerts: list[str]


def child_killed_at(op: str, place: Path) -> Seen:
    standin = Standin()
    runner = a_runner(place, standin)
    standin.fault = once_at(op, lambda: kill_child(place))

    killed = runner.run(a_small_job(), a_target(standin), key=KEY)

    return afterwards(standin, runner, killed.reason if killed.state is State.RETRY else killed.state.value)


def worker_killed_at(op: str, place: Path) -> Seen:
    standin = Standin()
    worker: list[subprocess.Popen[bytes]] = []
    standin.fault = once_at(op, lambda: worker[0].kill())
    worker.append(
        subprocess.Popen(
            [sys.executable, "-m", "tests.worker.wandb.one_job", str(place), standin.url, KEY],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
    )
    killed = worker[0].wait(PATIENCE_SECONDS * 2)
    # Nobody is left to kill them: they go by themselves, and take the directory along.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (processes_of(place) or leftovers(place)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return afterwards(standin, a_runner(place, standin), f"status {killed}")


def afterwards(standin: Standin, runner: Runner, killed: str) -> Seen:
    left: list[object] = [*leftovers(runner.place), *processes_of(runner.place)]
    after = runner.run(a_small_job(), a_target(standin), key=KEY)
    seen = Seen(
        killed=killed,
        left=left,
        after=after,
        rows=[row["mirror/rev"] for row in standin.run("eval-1").rows],
        alerts=[each["title"] for each in standin.held.alerts],
    )
    standin.stop()
    assert standin.unknown == []
    return seen


@pytest.mark.parametrize(
    ("kill_at", "said"), [(child_killed_at, "status -9"), (worker_killed_at, "status -9")]
)
def test_a_kill_leaves_nothing_behind_and_the_next_try_makes_it_whole(
    kill_at: Callable[[str, Path], Seen], said: str, tmp_path: Path
) -> None:
    ops = AT + (MORE if os.environ.get("FAULTS_FULL") else [])

    with ThreadPoolExecutor(3) as pool:
        places = (tmp_path / f"{number}-" for number in range(len(ops)))
        found = dict(zip(ops, pool.map(kill_at, ops, places), strict=True))

    assert {op: seen.killed for op, seen in found.items() if said not in seen.killed} == {}
    assert {op: seen.left for op, seen in found.items() if seen.left} == {}
    assert {op: seen.after for op, seen in found.items() if seen.after.reason} == {}
    assert {op: seen.rows for op, seen in found.items() if seen.rows != [1]} == {}
    assert {op: seen.alerts for op, seen in found.items() if seen.alerts != [WORSE.title]} == {}


def test_what_a_dead_worker_left_is_swept_and_what_is_at_work_is_not(standin: Standin, place: Path) -> None:
    runner = a_runner(place, standin)
    swept: list[int] = []
    standin.fault = once_at("UpsertBucket", lambda: swept.append(runner.sweep()))
    left = place / "online" / "eval-9.0123"
    left.mkdir(parents=True)
    (left / "lock").touch()

    outcome = runner.run(a_small_job(), a_target(standin), key=KEY)

    assert outcome.state is State.DELIVERED
    assert swept == [1]
    assert leftovers(place) == []


def test_sigint_to_the_workers_group_does_not_reach_the_child(standin: Standin, place: Path) -> None:
    groups: set[int] = set()

    def look() -> None:
        for process in psutil.process_iter():
            try:
                if any(str(place) in part for part in process.cmdline()):
                    groups.add(os.getpgid(process.pid))
            except (psutil.Error, ProcessLookupError):
                continue

    standin.fault = once_at("UpsertBucket", look)

    assert a_runner(place, standin).run(a_small_job(), a_target(standin), key=KEY).state is State.DELIVERED
    assert groups
    assert os.getpgid(0) not in groups
