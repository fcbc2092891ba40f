"""A benchmark that is ended from outside leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.speed.guardian import ended_with_us

ROOT = Path(__file__).parents[2]
# Of another's program: one process that starts another, and neither has heard of us.
_PROGRAM = ["sh", "-c", "sleep 1000 & wait"]
_BENCHMARK = f"""
    import subprocess, sys, time
    from bench.speed.guardian import ended_with_us
    process = subprocess.Popen({_PROGRAM}, start_new_session=True)
    with ended_with_us(process):
        print(process.pid, flush=True)
        time.sleep(1000)
"""


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def with_children(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    until(lambda: bool(process.children()))
    return [process, *process.children()]


def is_serving(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_what_is_not_ours_ends_with_a_benchmark_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_BENCHMARK)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as benchmark:
        assert benchmark.stdout is not None
        started = with_children(int(benchmark.stdout.readline()))
        benchmark.kill()

    _, alive = psutil.wait_procs(started, timeout=60)

    assert alive == []


def test_what_is_not_ours_ends_with_its_block_and_so_does_the_guardian() -> None:
    before = set(psutil.Process().children())
    process = subprocess.Popen(_PROGRAM, start_new_session=True)
    with ended_with_us(process):
        started = with_children(process.pid)
        (guardian,) = set(psutil.Process().children()) - before - set(started)

    _, alive = psutil.wait_procs([*started, guardian], timeout=60)

    assert alive == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["TERM", "KILL"]
)
def test_a_benchmark_that_is_ended_takes_its_service_along(
    empty_dir: Path, number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.speed", "--quick"],
        env={**os.environ, "TMPDIR": str(empty_dir), "PEERS": "0", "TRAIN": "0"},
        cwd=ROOT,
    ) as benchmark:
        try:
            until(lambda: any(map(is_serving, psutil.Process(benchmark.pid).children(recursive=True))))
            started = psutil.Process(benchmark.pid).children(recursive=True)
            benchmark.send_signal(number)
            benchmark.wait(120)
        finally:
            benchmark.kill()

    _, alive = psutil.wait_procs(started, timeout=60)

    assert benchmark.returncode == code
    assert alive == []
