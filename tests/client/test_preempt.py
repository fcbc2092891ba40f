"""A scheduler's signal ends the run as preempted, and the process as it would have ended without us."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.fake_service import FakeService, Fault, until
from tests.client.fake_streams import Stream
from tests.client.test_process import BEGIN, Ended, ended, script, started
from truerun import preemption

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

SAVE = """
import signal, threading
from pathlib import Path
def save():
    run.summary["saved"] = 1
    Path("saved").write_text("x")
def ready():
    print("ready", flush=True)
"""
LOOP = """
ready()
step = 0
while True:
    run.log({"loss": step})
    step += 1
    time.sleep(0.001)
"""


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """Trainings that a failing test leaves behind would go on for ever."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def the_stream(service: FakeService) -> Stream:
    (stream,) = service.streams.values()
    return stream


def ends(service: FakeService) -> list[str]:
    return [end["status"] for stream in service.streams.values() for end in stream.others("finish")]


def ready(home: Path, service: FakeService, code: str, **more: str) -> subprocess.Popen[str]:
    """A training that has come to say that it is ready."""
    process = started(home, service.url, BEGIN + SAVE + code, **more)
    _started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def signalled(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Ended:
    began = time.monotonic()
    process.send_signal(number)
    return ended(process, began)


def test_a_termination_saves_first_then_delivers_everything_and_ends_by_the_signal(
    home: Path, service: FakeService, spool: Path
) -> None:
    done = signalled(ready(home, service, "truerun.on_preempt(callback=save)\n" + LOOP))

    stream = the_stream(service)
    assert (done.code, done.err) == (-signal.SIGTERM, "")
    assert (home / "saved").exists()
    assert [patch["values"] for patch in stream.others("summary")] == [{"saved": 1}]
    (end,) = stream.others("finish")
    assert (end["status"], end["exit_code"]) == ("preempted", 143)
    assert stream.stored[stream.next_idx - 1] == end
    assert stream.gaps == []
    assert stream.logged == stream.next_idx
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))", 7),
        ("signal.signal(signal.SIGTERM, lambda *_: os._exit(8))", 8),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", 0),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", 0),
    ],
    ids=["exits", "exits at once", "ignored", "goes on"],
)
def test_the_handler_that_was_there_before_has_the_last_word(
    home: Path, service: FakeService, before: str, code: int
) -> None:
    body = f"{before}\ntruerun.on_preempt(save)\nready()\n"
    body += "until = time.monotonic() + 30\n"
    body += "while not (run._is_finished and Path('saved').exists()) and time.monotonic() < until:\n"
    body += "    time.sleep(0.01)\n"

    done = signalled(ready(home, service, body))

    assert done.code == code
    assert ends(service) == ["preempted"]
    assert (home / "saved").exists()


def test_a_schedulers_warning_is_a_signal_of_choice(home: Path, service: FakeService) -> None:
    code = "truerun.on_preempt(save, signals=('SIGTERM', 'SIGUSR1'))\n" + LOOP

    done = signalled(ready(home, service, code), signal.SIGUSR1)

    assert done.code == -signal.SIGUSR1
    assert the_stream(service).others("finish")[0]["exit_code"] == 128 + signal.SIGUSR1
    assert (home / "saved").exists()


def test_a_callback_that_fails_holds_up_nothing(home: Path, service: FakeService) -> None:
    done = signalled(ready(home, service, "truerun.on_preempt(lambda: 1 / 0)\n" + LOOP))

    assert done.code == -signal.SIGTERM
    assert done.err.count("ZeroDivisionError") == 1
    assert ends(service) == ["preempted"]


def test_a_callback_that_takes_long_is_neither_waited_for_nor_cut_off(
    home: Path, service: FakeService
) -> None:
    code = """
def slow():
    while not Path("told").exists():
        time.sleep(0.01)
    save()
truerun.on_preempt(slow, callback_timeout=0.1)
"""
    process = ready(home, service, code + LOOP)
    process.send_signal(signal.SIGTERM)
    until(lambda: ends(service) == ["preempted"], 30)
    assert process.poll() is None
    (home / "told").touch()
    done = ended(process, time.monotonic())

    assert done.code == -signal.SIGTERM
    assert (home / "saved").exists()


def test_a_second_signal_ends_a_callback_that_hangs_once_the_run_is_told_of(
    home: Path, service: FakeService
) -> None:
    code = "truerun.on_preempt(lambda: threading.Event().wait(), callback_timeout=0.1)\n" + LOOP
    process = ready(home, service, code)
    process.send_signal(signal.SIGTERM)
    until(lambda: ends(service) == ["preempted"], 30)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)

    assert ended(process, 0.0).code == -signal.SIGTERM


def test_a_service_that_is_away_takes_no_longer_than_was_said(
    home: Path, service: FakeService, spool: Path
) -> None:
    service.always["run"] = Fault(hang=True)
    code = "truerun.on_preempt(save, timeout=1.0)\nrun.log({'loss': 1})\n" + LOOP

    done = signalled(ready(home, service, code))

    (directory,) = spool.iterdir()
    assert done.code == -signal.SIGTERM
    assert done.seconds < 8
    assert f"truerun sync {directory}" in done.err
    assert list(directory.glob("streams/*/*.seg"))


def test_a_main_thread_that_is_stuck_outside_of_python_is_told_as_preempted(
    home: Path, service: FakeService
) -> None:
    code = """
import ctypes, sys, threading
truerun.on_preempt(save, callback_timeout=0.1)
lock = ctypes.create_string_buffer(256)
take = ctypes.CDLL(None).pthread_mutex_lock
take(lock)

def stand():
    is_last.wait()
    ready()

is_last = threading.Event()
threading.Thread(target=stand, daemon=True).start()
# So the other thread comes to run when the main thread has left Python, and a signal finds it stuck.
sys.setswitchinterval(1000)
is_last.set()
take(lock)
"""
    process = ready(home, service, code)
    process.send_signal(signal.SIGTERM)
    until(lambda: ends(service) == ["preempted"], 30)

    assert process.poll() is None
    assert not (home / "saved").exists()
    process.kill()
    ended(process, 0.0)


def test_a_signal_inside_of_log_comes_after_the_record(home: Path, service: FakeService) -> None:
    code = """
class Values(dict):
    def values(self):
        signal.raise_signal(signal.SIGTERM)
        Path("in log").write_text(str(Path("saved").exists()))
        return super().values()
truerun.on_preempt(save)
run.log({"loss": 0})
ready()
run.log(Values(loss=1))
until = time.monotonic() + 30
while time.monotonic() < until:
    time.sleep(0.01)
"""
    done = ended(ready(home, service, code), time.monotonic())

    assert done.code == -signal.SIGTERM
    assert (home / "in log").read_text() == "False"
    assert the_stream(service).values("loss") == [(0, 0), (1, 1)]
    assert ends(service) == ["preempted"]


def test_a_signal_at_any_moment_of_a_tight_loop_hangs_nothing_and_loses_nothing(
    home: Path, service: FakeService
) -> None:
    code = """
truerun.on_preempt()
ready()
step = 0
while True:
    run.log({"loss": step})
    step += 1
    if step % 20 == 0:
        time.sleep(0.001)
"""
    draw = random.Random(5)
    processes = [ready(home, service, code, KEY=f"run-{i}") for i in range(4)]
    for process in processes:
        time.sleep(draw.random() / 50)
        process.send_signal(signal.SIGTERM)
    codes = [ended(process, 0.0).code for process in processes]

    assert codes == [-signal.SIGTERM] * 4
    assert ends(service) == ["preempted"] * 4
    assert all(stream.gaps == [] for stream in service.streams.values())
    assert all(stream.logged == stream.next_idx for stream in service.streams.values())


@pytest.mark.parametrize(
    ("environ", "is_saved"), [({"RANK": "1"}, False), ({"TRUERUN_MODE": "off"}, True)], ids=["rank", "off"]
)
def test_where_nothing_is_recorded_a_rank_is_as_ever_and_a_checkpoint_is_saved(
    home: Path, service: FakeService, environ: dict[str, str], is_saved: bool
) -> None:
    done = signalled(ready(home, service, "truerun.on_preempt(save)\n" + LOOP, **environ))

    assert (done.code, done.err) == (-signal.SIGTERM, "")
    assert (home / "saved").exists() is is_saved
    assert service.requests == []


def test_a_forked_child_is_as_if_nobody_had_asked(home: Path, service: FakeService) -> None:
    code = """
truerun.on_preempt(save, callback_timeout=0.05)
run.log({"loss": 1})
for handler in (None, lambda *_: os._exit(5)):
    pid = os.fork()
    if pid == 0:
        if handler:
            signal.signal(signal.SIGTERM, handler)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
time.sleep(0.5)  # ten times what the parent would wait, took it the child's signal for its own
print(run._is_finished)
"""
    done = script(home, service.url, BEGIN + SAVE + code)

    assert (done.out.splitlines(), done.err) == (["-15", "5", "False"], "")
    assert ends(service) == ["finished"]
    assert not (home / "saved").exists()


def test_a_run_that_begins_after_the_signal_is_none_of_its_business(home: Path, service: FakeService) -> None:
    code = """
signal.signal(signal.SIGTERM, lambda *_: None)
truerun.on_preempt(save, callback_timeout=0.2)
os.kill(os.getpid(), signal.SIGTERM)
second = truerun.init("burgers", run_key="second")
time.sleep(0.8)  # four times what a main thread that is stuck would be given
print(second._is_finished)
second.finish()
"""
    done = script(home, service.url, BEGIN + SAVE + code)

    assert (done.code, done.out, done.err) == (0, "False\n", "")
    assert ends(service) == ["preempted", "finished"]


def test_a_later_call_replaces_the_callback(home: Path, service: FakeService) -> None:
    code = "truerun.on_preempt(lambda: Path('first').touch())\ntruerun.on_preempt(save)\n" + LOOP

    done = signalled(ready(home, service, code))

    assert done.code == -signal.SIGTERM
    assert (home / "saved").exists()
    assert not (home / "first").exists()


def test_an_event_loop_keeps_its_descriptor(home: Path, service: FakeService) -> None:
    code = """
reads, writes = os.pipe()
os.set_blocking(writes, False)
signal.set_wakeup_fd(writes)
truerun.on_preempt(save)
print(signal.set_wakeup_fd(-1) == writes)
"""
    assert script(home, service.url, BEGIN + SAVE + code).out == "True\n"


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that nobody has asked anything of, as far as warnings are counted."""
    monkeypatch.setattr(preemption._Process, "preemption", None)


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(
    "arguments",
    [
        {"callback": "save"},
        {"signals": ["SIGNONE"]},
        {"signals": "SIGKILL"},
        {"signals": [99999]},
        {"timeout": "long"},
        {"delay": 3},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_a_call_that_cannot_mean_anything_is_said_and_changes_nothing(
    caplog: pytest.LogCaptureFixture, arguments: dict[str, Any]
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    truerun.on_preempt(**arguments)

    assert signal.getsignal(signal.SIGTERM) is before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.usefixtures("unasked")
def test_another_thread_than_the_main_one_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=truerun.on_preempt)
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) is before
    assert ["works in the main thread" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.usefixtures("unasked")
def test_a_handler_from_outside_of_python_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)

    truerun.on_preempt(signals="SIGUSR2")
    monkeypatch.undo()

    assert signal.getsignal(signal.SIGUSR2) == before
    assert ["outside of Python" in record.getMessage() for record in caplog.records] == [True]
