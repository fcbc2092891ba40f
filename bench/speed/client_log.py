"""What `log()` costs a training step: ten numbers a call, with a service that never answers."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable

import truerun
from bench.speed.rows import Row

_NUMBERS = {f"metric_{i}": 0.1 * i for i in range(10)}
P50_AIM_US, P99_AIM_US = 10.0, 100.0


def client_log(*, calls: int) -> Row:
    """Each call is timed by itself; a training step of a fifth of a millisecond passes between two of them.

    The yardstick is what no way of handing something to another thread can do without.
    """
    log = logging.getLogger("truerun")
    level = log.level
    # That nobody answers is what is measured, and need not be said.
    log.setLevel(logging.CRITICAL)
    queue: deque[dict[str, float]] = deque(maxlen=1000)
    # The client's threads may still write there when it goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as state, socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = state
        try:
            run = truerun.init(
                "bench",
                url=f"http://127.0.0.1:{hole.getsockname()[1]}",
                token="trn_bench000_x",  # noqa: S106
            )
            logged = _microseconds(lambda: run.log(_NUMBERS), calls)
            appended = _microseconds(lambda: queue.append(dict(_NUMBERS)), calls)
            run.finish(timeout=0.5)
        finally:
            log.setLevel(level)
            os.environ.pop("XDG_STATE_HOME")
            if before is not None:
                os.environ["XDG_STATE_HOME"] = before
    p50, p99 = logged[len(logged) // 2], logged[int(0.99 * len(logged))]
    yardstick = appended[len(appended) // 2]
    return Row(
        what="log() of 10 numbers, the service a black hole",
        measured=f"p50 {p50:.1f} µs, p99 {p99:.1f} µs",
        aim=f"p50 ≤ {P50_AIM_US:.0f} µs, p99 ≤ {P99_AIM_US:.0f} µs",
        floor=f"{p50 / yardstick:.0f} × deque.append of a copy ({yardstick:.2f} µs)",
        is_met=p50 <= P50_AIM_US and p99 <= P99_AIM_US,
    )


def _microseconds(call: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter_ns()
        call()
        ended = time.perf_counter_ns()
        taken.append((ended - began) / 1000)
        while time.perf_counter_ns() - ended < 200_000:
            # A training computes; sleeping would hand the processor to our own threads.
            pass
    return sorted(taken)
