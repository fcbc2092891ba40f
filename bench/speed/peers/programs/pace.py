"""How every tracker is asked to log: ten numbers a call, first at a training's pace, then as fast as it takes them."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

NUMBERS = {f"metric_{i}": 0.1 * i for i in range(10)}
STEP_SECONDS = 0.001
_WARM_UP = 20


class Tracked(Protocol):
    """One run of a tracker, open for logging."""

    def log(self, step: int) -> None:
        """One call with NUMBERS, as its users write it."""
        ...

    def finish(self) -> None:
        """Return when everything is where the tracker keeps it."""
        ...

    def readable(self) -> int:
        """How many points of this run can be read back, by the tracker's own means where it has any."""
        ...


def main(opened: Callable[[Path, str], Tracked]) -> None:
    """Log two runs and print, as the last line, what it took.

    Arguments of the program: a directory of its own, calls at most, seconds at most for each of the two.
    """
    place, calls, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    paced = opened(place, "paced")
    took = _paced(paced.log, calls, seconds)
    paced.finish()
    fast = opened(place, "fast")
    began = time.perf_counter()
    made = _as_fast_as_possible(fast.log, calls, seconds)
    fast.finish()
    ended = time.perf_counter()
    took.sort()
    document = {
        "p50_us": took[len(took) // 2],
        "p99_us": took[int(0.99 * len(took))],
        "points_per_second": len(NUMBERS) * made / (ended - began),
        "logged": len(NUMBERS) * (made + len(took) + _WARM_UP),
        "readable": paced.readable() + fast.readable(),
    }
    sys.stdout.write(f"\n{json.dumps(document)}\n")


def _paced(log: Callable[[int], None], calls: int, seconds: float) -> list[float]:
    """Microseconds of each call, a training step after each."""
    step = _step()
    for i in range(_WARM_UP):
        log(i)
        step()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while len(took) < calls and time.perf_counter() < until:
        began = time.perf_counter_ns()
        log(_WARM_UP + len(took))
        took.append((time.perf_counter_ns() - began) / 1000)
        step()
    return took


def _as_fast_as_possible(log: Callable[[int], None], calls: int, seconds: float) -> int:
    until = time.perf_counter() + seconds
    made = 0
    while made < calls and time.perf_counter() < until:
        log(made)
        made += 1
    return made


def _step() -> Callable[[], object]:
    """Something that takes STEP_SECONDS of a core and lets other threads in, as a training's own arithmetic does."""
    data = bytes(2**20)
    began = time.perf_counter()
    for _ in range(5):
        hashlib.sha256(data).digest()
    each = (time.perf_counter() - began) / 5
    data = bytes(max(4096, int(len(data) * STEP_SECONDS / each)))
    return lambda: hashlib.sha256(data).digest()
