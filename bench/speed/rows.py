"""What a benchmark says, and the machine it says it of."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Args:
        measured: In words, with its unit.
        aim: What it is held to; "" where it is only reported.
        floor: What was measured beside it in the same run, and the ratio to that, which survives a busy machine.
        is_met: None where there is no aim.
    """

    what: str
    measured: str
    aim: str = ""
    floor: str = ""
    is_met: bool | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of one call in milliseconds, in the order they were taken."""

    each: tuple[float, ...]

    @property
    def p50(self) -> float:
        return statistics.median(self.each)

    @property
    def p99(self) -> float:
        return sorted(self.each)[min(len(self.each) - 1, int(0.99 * len(self.each)))]

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms"


def timed(call: Callable[[], object], times: int, *, warm_up: int = 3) -> Times:
    for _ in range(warm_up):
        call()
    return Times(tuple(_milliseconds(call) for _ in range(times)))


def side_by_side(calls: Sequence[Callable[[], object]], times: int, *, warm_up: int = 3) -> list[Times]:
    """Each call in turn, over and over, so that a busy moment of the machine meets all of them."""
    for _ in range(warm_up):
        for call in calls:
            call()
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(times):
        for i, call in enumerate(calls):
            taken[i].append(_milliseconds(call))
    return [Times(tuple(each)) for each in taken]


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000.0 * (time.perf_counter() - began)


def machine(postgres: str) -> list[str]:
    """Facts that a number means nothing without."""
    root = Path(__file__).parents[2]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    return [
        f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {postgres}",
        f"load average {os.getloadavg()[0]:.1f} at the end of the run; commit {commit or 'unknown'}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
