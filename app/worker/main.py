"""The worker's process: started, stopped by a signal within two seconds."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType

import structlog

from app.db import Timeouts, make_engine, session_factory
from app.worker.lanes import Lane
from app.worker.loop import Worker
from app.worker.sinks import SINKS, SLOW_KINDS, SinkMaker

_log = structlog.get_logger("truerun.worker")
_GRACE_SECONDS = 1.5


def run(
    database_url: str,
    *,
    stop: threading.Event | None = None,
    sinks: Mapping[str, SinkMaker] = SINKS,
    slow_kinds: Mapping[str, int] = SLOW_KINDS,
    metrics_address: str | None = None,
) -> None:
    """Work until SIGTERM or SIGINT, or until `stop` is set.

    A delivery that does not come to an end within the grace time is left behind; its lease runs out and another
    worker takes it over.

    Args:
        stop: For whoever runs the worker in a thread; signals reach only the main thread.
        sinks: By kind.
        slow_kinds: How many deliveries of these kinds may be under way at once; of every other kind, one.
        metrics_address: `host:port` at which Prometheus is answered; None for nowhere.
    """
    slots = {kind: slow_kinds[kind] for kind in sinks if kind in slow_kinds}
    # Each loop has one, and a delivery that is under way reads what it delivers with another, some beside a lock.
    connections = 2 + len(slots) + 2 * sum(slots.values())
    engine = make_engine(database_url, pool_size=connections, timeouts=Timeouts(lock=5.0))
    sessions = session_factory(engine)
    made = {kind: make(sessions) for kind, make in sinks.items()}
    worker = Worker(
        sessions=sessions,
        sinks={kind: sink for kind, sink in made.items() if kind not in slots},
        random=random.random,
    )
    lanes = [
        Lane(
            sessions=sessions,
            kind=kind,
            sink=made[kind],
            slots=slots[kind],
            random=random.random,
            metrics=worker.metrics,
        )
        for kind in sorted(slots)
    ]
    if metrics_address is not None:
        worker.metrics.serve(metrics_address)
    ended = threading.Event() if stop is None else stop
    threads = [_started("truerun-worker", partial(worker.run, ended.is_set, ended.wait))]
    threads += [_started(f"truerun-{lane.kind}", partial(lane.run, ended.is_set)) for lane in lanes]
    _log.info("worker_started")
    if stop is None:
        with _signals() as received:
            # A flag that is looked at, since an Event that a handler sets while it is waited for can deadlock.
            while not received and _all_alive(threads):
                time.sleep(0.1)
        ended.set()
    else:
        while _all_alive(threads) and not stop.wait(1.0):
            pass
    deadline = time.monotonic() + _GRACE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads) or any(lane.left_behind for lane in lanes):
        _log.warning("worker_left_a_delivery_behind")
        return
    engine.dispose()
    _log.info("worker_stopped")


def _started(name: str, work: Callable[[], None]) -> threading.Thread:
    # A daemon, so that a delivery that hangs does not keep the process.
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _all_alive(threads: list[threading.Thread]) -> bool:
    return all(thread.is_alive() for thread in threads)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals to stop that have come, with the handlers of before restored at the end."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
