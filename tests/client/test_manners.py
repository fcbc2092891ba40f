"""A training beside every service and disk that it may meet: it never notices, and its end is never late."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.client.bad_services import BAD, Place, dripping, full, read_only, up
from tests.client.test_process import Ended, ended, started
from truerun.transport import Transport

ROUNDS, CALLS = 20, 500
# What others on this machine may add to the end of a process.
EXIT_SECONDS, NOISE_SECONDS = 5.5, 1.0
# What `log()` of ten numbers may cost, in microseconds, where an append to a deque with a copy costs YARDSTICK.
P50, P99, YARDSTICK = 10.0, 100.0, 0.25
_TRAINING = """
import collections, json, os, sys, time
import truerun

def taken(call):
    found = []
    for _ in range({calls}):
        before = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - before) / 1000)
    return sorted(found)

numbers = {{f"metric_{{i}}": 0.1 * i for i in range(10)}}
queue = collections.deque(maxlen=1000)
run = truerun.init("burgers", run_key="unet-64", config={{"lr": 1}})
logged, appended = [], []
for step in range({rounds}):
    logged.append(taken(lambda: run.log(numbers)))
    appended.append(taken(lambda: queue.append(dict(numbers))))
    run.log_groups({{"easy": {{"mse": 1.0}}}}, split="val")
    run.summary["best"] = step
    run.alert("spike", str(step))
    run.config.step = step
    time.sleep(0.1)
gate = run.log_evaluation("s", {{"nrmse": 0.1}}, timeout=0.1).gate
at = {calls} // 2, {calls} * 99 // 100
said = {{"gate": gate, "worst": max(each[-1] for each in logged) / 1e6, "logged": run._outlet.recorder.logged}}
# Of the quietest round: what others on this machine do is not ours.
said |= {{"p50": min(each[at[0]] for each in logged), "p99": min(each[at[1]] for each in logged)}}
said |= {{"yardstick": min(each[at[0]] for each in appended)}}
# The time that it takes from here on is what the end of a training waits for us.
said |= {{"ends": time.time()}}
print(json.dumps(said), flush=True)
"""


@dataclass
class Training:
    """One that has ended, and what it said of itself."""

    done: Ended
    said: dict[str, Any]
    exit_seconds: float


def trained(home: Path, place: Place, state: Path, preamble: str) -> Training:
    code = f"{place.preamble}\n    {preamble}\n"
    lines = [line.removeprefix("    ") for line in code.splitlines()]
    script = "\n".join(lines) + _TRAINING.format(rounds=ROUNDS, calls=CALLS)
    began = time.monotonic()
    process = started(home, place.url, script, XDG_STATE_HOME=str(state))
    done = ended(process, began)
    now = time.time()
    said = json.loads(done.out) if done.out.startswith("{") else {}
    return Training(done, said, now - said.get("ends", 0.0))


def offences(training: Training) -> list[str]:
    """What of our promise a training saw broken."""
    done, said = training.done, training.said
    if done.code or not said:
        return [f"it ended with {done.code}"]
    found = ["a traceback was printed"] if "Traceback" in done.err else []
    slower = max(1.0, said["yardstick"] / YARDSTICK)
    for name, bound in (("p50", P50), ("p99", P99)):
        if said[name] > bound * slower:
            found.append(f"log() took {name} {said[name]:.1f} µs, {slower:.1f} × {bound} µs at most")
    if said["worst"] > 1.0:
        found.append(f"one call of log() took {said['worst']:.1f} s")
    if training.exit_seconds > EXIT_SECONDS + NOISE_SECONDS:
        found.append(f"the end took {training.exit_seconds:.1f} s")
    words = done.err.splitlines()
    if len(words) > 8 or len(set(words)) < len(words):
        found.append("it said too much")
    return found


def gone_through(
    home: Path,
    places: dict[str, Callable[[], AbstractContextManager[Place]]],
    *,
    disk: Callable[[Path], AbstractContextManager[str]] = lambda _: nullcontext(""),
) -> tuple[dict[str, Training], dict[str, Place]]:
    """A training beside each of the places, all at once since most of them only wait."""
    with ExitStack() as stack, ThreadPoolExecutor(len(places)) as pool:
        opened = {name: stack.enter_context(place()) for name, place in places.items()}
        waiting = {}
        for name, place in opened.items():
            state = home / name.replace(" ", "-")
            state.mkdir()
            preamble = stack.enter_context(disk(state))
            waiting[name] = pool.submit(trained, home, place, state, preamble)
        trainings = {name: each.result() for name, each in waiting.items()}
    report = "\n".join(
        f"{name}: {'; '.join(found)}\n{each.said}\n{each.done.err}"
        for name, each in trainings.items()
        if (found := offences(each))
    )
    assert not report, report
    return trainings, opened


def assert_all_arrived(training: Training, place: Place) -> None:
    assert place.service is not None
    (stream,) = place.service.streams.values()
    # And the end of the run.
    assert (stream.next_idx, stream.gaps) == (training.said["logged"] + 1, [])
    assert len(stream.values("metric_3")) == ROUNDS * CALLS
    assert place.service.statuses == ["finished"]
    assert training.said["gate"] in ("open", "unknown")
    assert len(place.service.evaluations) == 1


def test_a_training_does_not_notice_what_its_service_is_like(home: Path) -> None:
    trainings, opened = gone_through(home, {"up": up, **BAD})

    assert_all_arrived(trainings.pop("up"), opened.pop("up"))
    for name, training in trainings.items():
        ways_out = [line for line in training.done.err.splitlines() if "truerun sync" in line]
        assert len(ways_out) == 1, (name, training.done.err)


@pytest.mark.parametrize("disk", [full, read_only], ids=["full", "read-only"])
def test_a_training_does_not_notice_what_its_disk_is_like(
    home: Path, disk: Callable[[Path], AbstractContextManager[str]]
) -> None:
    names = ("down", "black hole", "stopped", "500", "names hang")

    trainings, opened = gone_through(home, {"up": up, **{name: BAD[name] for name in names}}, disk=disk)

    assert_all_arrived(trainings["up"], opened["up"])
    for name, training in trainings.items():
        assert "disk" in training.done.err or "directory" in training.done.err, (name, training.done.err)


@pytest.mark.parametrize(
    "place",
    [
        dripping(at_once=b"HTTP/1.1 200 OK\r\n", then=b"x-more: and more\r\n", seconds=0.02),
        dripping(at_once=b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", then=b"{", seconds=0.02),
    ],
    ids=["head", "body"],
)
def test_an_answer_that_drips_in_is_not_waited_for_longer_than_was_meant(
    place: Callable[[], AbstractContextManager[Place]],
) -> None:
    with place() as found:
        transport = Transport(found.url, "trn_project0_secret")
        began = time.monotonic()
        answer = transport.send("PUT", "/projects/p/runs/r", body=b"{}", seconds=1.0)
        seconds = time.monotonic() - began
        transport.close()

    assert answer.status is None
    assert "1 s" in answer.trouble
    assert 0.9 < seconds < 5.0
