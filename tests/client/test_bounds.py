"""What the client takes of a machine, however much is logged and however little is delivered."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault
from tests.client.test_process import script
from truerun.manners import Manners
from truerun.points import Keys
from truerun.recorder import MOST_QUEUED, Recorder
from truerun.store import Store

# An hour of a hundred calls a second.
_MANY = 360_000
_LOGS = """
import os, time
import truerun

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

numbers = {f"metric_{i}": 0.1 * i for i in range(10)}
run = truerun.init("burgers", run_key="unet-64")
recorder = run._outlet.recorder
run.log(numbers)
deadline = time.monotonic() + 20
while not recorder.feed._sent and time.monotonic() < deadline:
    time.sleep(0.01)
before = most = resident()
for step in range(MANY):
    run.log(numbers, step=step)
    if step % 1000 == 0:
        most = max(most, resident())
        # A training computes in between; this one waits, so that the writer comes along on a busy machine, too.
        while len(recorder._queue) > 5000:
            time.sleep(0.001)
print(before, most, recorder._store.held_bytes / 2**20, sum(recorder.dropped.values()))
"""


def test_an_hour_of_logging_to_nobody_stays_within_32_mib(home: Path, service: FakeService) -> None:
    service.always["records"] = Fault(hang=True)

    done = script(home, service.url, _LOGS.replace("MANY", str(_MANY)))

    assert done.code == 0, done.err
    before, most, held, dropped = map(float, done.out.split())
    assert held > 30
    assert dropped == 0
    # What the libraries take that were imported before is not in it.
    assert most - before < 32


class Never:
    def is_ready(self) -> bool:
        return False

    def values(self) -> dict[int, float]:
        raise AssertionError("it is never ready")


def test_a_queue_that_nobody_empties_is_bounded_by_records_and_by_numbers() -> None:
    def queued(width: int) -> int:
        keys = Keys("", "", tuple(("", f"m{i}") for i in range(width)))
        recorder = a_recorder()
        recorder.put_point(keys, (0.0,) * width, 0, Never())
        for step in range(MOST_QUEUED + 500):
            recorder.put_point(keys, (float(step),) * width, step)
        return len(recorder._queue)

    assert queued(2) == MOST_QUEUED
    # 8 MiB at 32 bytes a number.
    assert 200_000 < queued(1000) * 1000 <= 8 * 2**20 / 32 + 1000


def test_numbers_that_never_arrive_hold_nothing_up_when_the_run_ends(
    home: Path, service: FakeService
) -> None:
    run = truerun.init("burgers", run_key="unet-64", url=service.url, token=PROJECT_TOKEN)
    run.log({"loss": 1.0}, step=0)
    recorder = run._outlet.recorder
    assert recorder is not None
    for step in (1, 2):
        recorder.put_point(Keys("", "", (("", "loss"),)), (math.nan,), step, Never())
    run.log({"loss": 3.0}, step=3)
    began = time.monotonic()

    run.finish(timeout=6.0)

    (stream,) = service.streams.values()
    assert stream.values("loss") == [(0, 1.0), (3, 3.0)]
    assert [end["status"] for end in stream.others("finish")] == ["finished"]
    assert [(first, until) for first, until, _ in stream.gaps] == [(1, 3)]
    assert recorder.dropped == {"never_ready": 2}
    assert time.monotonic() - began < 6.0
    assert run.is_delivered


def test_what_a_full_queue_could_not_take_is_told_as_a_gap_and_then_it_goes_on(home: Path) -> None:
    keys = Keys("", "", tuple(("", f"m{i}") for i in range(1000)))
    recorder = a_recorder()
    for step in range(500):
        recorder.put_point(keys, (float(step),) * 1000, step)
    recorder.start()
    assert recorder.flush(20)
    recorder.put_point(keys, (1.0,) * 1000, 500)
    assert recorder.flush(20)
    recorder.abandon()

    records = recorder._store.read(0, most_records=10_000, most_bytes=2**30)
    (gap,) = [record for record in records if not hasattr(record, "numbers")]
    assert gap.document["reason"] == "queue_full"
    assert gap.until == 500
    assert records[-1].idx == 500


def a_recorder() -> Recorder:
    """Without a disk and without a thread."""
    manners = Manners()

    def unused(*_: Any) -> None: ...

    store = Store(None, uuid4(), manners.complain)
    return Recorder(store, facts={}, manners=manners, on_news=unused, set_aside=unused)
