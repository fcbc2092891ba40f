from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem, until
from tests.client.fake_streams import Stream
from truerun.runs import Run


def a_run(url: str | None, **more: Any) -> Run:
    return truerun.init("burgers", run_key="run", url=url, token=PROJECT_TOKEN, **more)


def the_stream(service: FakeService) -> Stream:
    (stream,) = service.streams.values()
    return stream


def held(spool: Path) -> list[Path]:
    return sorted(spool.glob("*/streams/*/*.seg"))


def test_what_is_logged_arrives_once_and_leaves_nothing_behind(service: FakeService, spool: Path) -> None:
    run = a_run(service.url)
    for i in range(1000):
        run.log({"loss": 1 / (i + 1), "nested": {"acc": i}}, step=i)
        if i % 100 == 0:
            run.log({"val": math.nan}, step=i, split="val")
    run.summary["best"] = 0.001
    run.alert("spike", "loss went up", level="warn")
    run.finish()

    stream = the_stream(service)
    assert stream.values("loss") == [(i, 1 / (i + 1)) for i in range(1000)]
    assert stream.values("nested/acc")[-1] == (999, 999.0)
    assert stream.values("val")[0] == (0, "NaN")
    assert stream.others("summary")[0]["values"] == {"best": 0.001}
    assert stream.others("event")[0]["title"] == "spike"
    assert [end["status"] for end in stream.others("finish")] == ["finished"]
    assert (stream.next_idx, stream.logged, stream.gaps) == (1013, 1013, [])
    assert service.patched == []
    assert held(spool) == []
    assert list(spool.iterdir()) == []


def test_alternating_calls_travel_as_two_blocks_of_one_batch(service: FakeService) -> None:
    run = a_run(service.url)
    for i in range(50):
        run.log({"loss": i})
        run.log({"lr": i})
    run.finish()

    sent = [request.body for request in service.requests if request.path.endswith("/records")]
    assert sum(len(body["blocks"]) for body in sent if body["count"]) <= 2 * len(sent)
    assert len(the_stream(service).values("lr")) == 50


def test_without_a_step_the_client_counts(service: FakeService) -> None:
    run = a_run(service.url)
    run.log({"a": 1})
    run.log({"a": 2}, step=10)
    run.log({"a": 3})
    run.finish()

    assert the_stream(service).values("a") == [(0, 1.0), (10, 2.0), (11, 3.0)]


class _Raises:
    def __float__(self) -> float:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class _RefusesEverything:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")


def test_what_is_no_number_is_dropped_and_counted_and_the_rest_arrives(service: FakeService) -> None:
    run = a_run(service.url)
    cyclic: dict[str, Any] = {"deep": 1.0}
    cyclic["self"] = cyclic

    run.log({"a": 1.0, "text": "x", "none": None, "list": [1], "raises": _Raises(), "": 2.0, "x\n": 3.0})
    run.log({"d": 1.0, "refuses": _RefusesEverything()}, step=1)
    run.log({"big": 10**400, "b": True, "c": cyclic})
    run.log({"a": 2.0}, step="seven")  # type: ignore[arg-type]
    run.log("nothing")  # type: ignore[arg-type]
    run.log({"complex": 1j})
    run.finish()

    stream = the_stream(service)
    assert stream.values("a") == [(0, 1.0)]
    assert stream.values("b") == [(2, 1.0)]
    assert stream.values("d") == [(1, 1.0)]
    assert not stream.values("big")
    last = [request.body for request in service.requests if request.path.endswith("/records")][-1]
    assert last["dropped"]["not_a_number"] >= 7
    assert last["dropped"]["bad_name"] == 2


def test_numpy_scalars_and_groups_are_numbers(service: FakeService) -> None:
    numpy = pytest.importorskip("numpy")
    run = a_run(service.url)
    run.log(
        {"f32": numpy.float32(0.5), "i": numpy.int64(3), "zero-d": numpy.array(2.0), "vector": numpy.ones(2)}
    )
    run.log_groups({"k=4,m=2": {"mse": 0.25}, "k=5": {"mse": numpy.float64(0.5)}}, step=7, split="val")
    run.finish()

    stream = the_stream(service)
    assert [stream.values(name)[0][1] for name in ("f32", "i", "zero-d")] == [0.5, 3.0, 2.0]
    assert (stream.values("k=4,m=2:mse"), stream.values("k=5:mse")) == ([(7, 0.25)], [(7, 0.5)])
    assert not stream.values("vector")


class StandIn:
    """A tensor of a device: reading it on the thread that made it is a stall, and an error here."""

    device = "somewhere"
    shape = ()

    def __init__(self, value: float) -> None:
        self._value = value
        self._owner = threading.get_ident()

    def detach(self) -> StandIn:
        return self

    def reshape(self, _shape: Any) -> StandIn:
        return self

    def item(self) -> float:
        assert threading.get_ident() != self._owner, "a stall on the caller's thread"
        return self._value

    __float__ = cpu = item


def test_a_tensor_is_not_read_on_the_callers_thread(service: FakeService) -> None:
    run = a_run(service.url, strict=True)
    for i in range(10):
        run.log({"loss": StandIn(i / 2), "plain": i})
    run.finish()

    assert the_stream(service).values("loss") == [(i, i / 2) for i in range(10)]
    assert len(the_stream(service).values("plain")) == 10


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, headers={"retry-after": "0"}),
        Fault(status=429, headers={"retry-after": "soon"}),
        Fault(status=200, body="<html>sign in</html>"),
        Fault(status=302, headers={"location": "/login"}),
        Fault(drop=True),
        Fault(drop=True, after=True),
    ],
    ids=["500", "503", "429 odd", "HTML", "redirect", "dropped", "answer lost"],
)
def test_a_service_that_falters_gets_every_record_once(service: FakeService, fault: Fault) -> None:
    service.faults["records"].extend([fault, fault])
    run = a_run(service.url)
    for i in range(100):
        run.log({"loss": i})
    until(lambda: service.streams and the_stream(service).next_idx == 100, 30)
    run.finish(timeout=20)

    assert the_stream(service).values("loss") == [(i, float(i)) for i in range(100)]


@pytest.mark.parametrize(("status", "reason"), [(413, "too_large"), (422, "refused"), (400, "refused")])
def test_the_one_record_that_cannot_be_taken_is_found_and_put_aside(
    service: FakeService, spool: Path, status: int, reason: str
) -> None:
    service.poisoned_records[5] = status
    run = a_run(service.url)
    for i in range(9):
        run.log({"loss": i})
    until(lambda: service.streams and the_stream(service).next_idx >= 9, 30)
    run.finish(timeout=20)

    stream = the_stream(service)
    assert stream.gaps == [(5, 6, reason)]
    assert [step for step, _ in stream.values("loss")] == [0, 1, 2, 3, 4, 6, 7, 8]
    (kept,) = spool.glob("*/rejected/record-*.json")
    assert json.loads(kept.read_text())["values"] == {"loss": 5}


def test_a_service_that_lost_its_stream_gets_what_is_still_held_and_a_gap(service: FakeService) -> None:
    run = a_run(service.url)
    run.log({"loss": 1.0})
    until(lambda: service.streams and the_stream(service).next_idx == 1)
    the_stream(service).next_idx = 0
    the_stream(service).stored.clear()
    run.log({"loss": 2.0})
    run.finish(timeout=20)

    stream = the_stream(service)
    assert stream.next_idx == 3
    assert stream.values("loss")[-1] == (1, 2.0)


def test_an_old_service_without_records_still_gets_evaluations(service: FakeService, spool: Path) -> None:
    service.always["records"] = problem(404, "nothing is here")
    run = a_run(service.url)
    run.log({"loss": 1.0})
    verdict = run.log_evaluation("s", {"nrmse": 0.1}, timeout=10)
    began = time.monotonic()
    run.finish()

    assert verdict.gate == "open"
    assert time.monotonic() - began < 7
    assert len(held(spool)) == 1


def test_a_black_hole_stalls_neither_logging_nor_the_exit(service: FakeService, spool: Path) -> None:
    service.always["records"] = Fault(hang=True)
    run = a_run(service.url)
    for i in range(2000):
        run.log({"loss": i})
    began = time.monotonic()
    run.finish()

    assert time.monotonic() - began < 5.5
    assert sum(path.stat().st_size for path in held(spool)) > 2000 * 40


def test_what_was_recorded_offline_is_sent_by_sync(
    service: FakeService, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(None, mode="offline")
    for i in range(10):
        run.log({"loss": i})
    run.finish("failed", error="boom password=hunter2")
    monkeypatch.setenv("TRUERUN_URL", service.url)
    monkeypatch.setenv("TRUERUN_TOKEN", PROJECT_TOKEN)

    done = subprocess.run(
        [sys.executable, "-m", "truerun", "sync"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    stream = the_stream(service)
    assert len(stream.values("loss")) == 10
    assert stream.others("finish")[0]["error"] == "boom password=[removed]"
    assert service.patched == []
    assert list(spool.iterdir()) == []


_KILLED = """
import os, signal, sys, time
import truerun
run = truerun.init("burgers", run_key="killed", url=sys.argv[1], token="trn_project0_secret")
for i in range(500):
    run.log({"loss": i})
time.sleep(1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_has_its_records_sent_by_the_next_one(service: FakeService, spool: Path) -> None:
    service.always["records"] = Fault(status=503)
    killed = subprocess.run([sys.executable, "-c", _KILLED, service.url], check=False)
    assert killed.returncode == -signal.SIGKILL
    service.always.clear()

    run = truerun.init("burgers", run_key="next", url=service.url, token=PROJECT_TOKEN)
    until(lambda: any(len(stream.values("loss")) == 500 for stream in service.streams.values()), 30)
    # The end of a run leaves what others left behind to the next one, half tidied, too.
    until(lambda: len(list(spool.iterdir())) == 1, 30)
    run.finish()

    assert list(spool.iterdir()) == []


def test_a_forked_child_records_nothing_and_the_parent_goes_on(service: FakeService) -> None:
    run = a_run(service.url)
    run.log({"loss": 0})
    child = os.fork()
    if child == 0:
        run.log({"child": 1})
        os._exit(0)
    os.waitpid(child, 0)
    run.log({"loss": 1})
    run.finish()

    stream = the_stream(service)
    assert (len(stream.values("loss")), stream.values("child")) == (2, [])


def test_a_signal_handler_may_log_while_log_is_interrupted(service: FakeService) -> None:
    run = a_run(service.url)
    before = signal.signal(signal.SIGALRM, lambda *_: run.log({"signal": 1}))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        deadline = time.monotonic() + 1.0
        logged = 0
        while time.monotonic() < deadline and logged < 5000:
            run.log({"loss": logged})
            logged += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run.finish(timeout=20)

    stream = the_stream(service)
    assert len(stream.values("loss")) == logged
    assert stream.values("signal")
    assert (stream.gaps, stream.next_idx) == ([], stream.logged)


def test_many_threads_log_without_losing_or_doubling(service: FakeService) -> None:
    run = a_run(service.url)

    def work(name: str) -> None:
        for i in range(500):
            run.log({name: i}, step=i)

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish(timeout=20)

    stream = the_stream(service)
    assert all(stream.values(f"t{i}") == [(j, float(j)) for j in range(500)] for i in range(8))


def test_a_stop_that_somebody_asked_for_is_heard(service: FakeService) -> None:
    run = a_run(service.url)
    stop = json.dumps({"next_idx": 1, "rejected": [], "server_time": "x", "stop": True})
    service.faults["records"].append(
        Fault(status=200, body=stop, headers={"content-type": "application/json"})
    )
    run.log({"loss": 1})

    until(lambda: run.stop_requested)
    run.finish()


def test_an_exception_in_the_block_is_told_without_its_secrets(service: FakeService) -> None:
    with pytest.raises(ValueError, match="token"), a_run(service.url):
        raise ValueError("bad token=abc123 for https://me:geheim@host/x")

    (end,) = the_stream(service).others("finish")
    assert end["status"] == "failed"
    assert end["error"] == "ValueError: bad token=[removed] for https://me:[removed]@host/x"
