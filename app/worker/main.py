"""The worker's process: started, stopped by a signal within two seconds."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import structlog

from app.db import Timeouts, make_engine, session_factory
from app.worker.loop import Worker
from app.worker.sinks import SINKS, Sink

_log = structlog.get_logger("truerun.worker")
_GRACE_SECONDS = 1.5


def run(
    database_url: str,
    *,
    stop: threading.Event | None = None,
    sinks: Mapping[str, Sink] = SINKS,
    metrics_address: str | None = None,
) -> None:
    """Work until SIGTERM or SIGINT, or until `stop` is set.

    A delivery that does not come to an end within the grace time is left behind; its lease runs out and another
    worker takes it over.

    Args:
        stop: For whoever runs the worker in a thread; signals reach only the main thread.
        sinks: By kind.
        metrics_address: `host:port` at which Prometheus is answered; None for nowhere.
    """
    engine = make_engine(database_url, pool_size=2, timeouts=Timeouts(lock=5.0))
    worker = Worker(sessions=session_factory(engine), sinks=sinks, random=random.random)
    if metrics_address is not None:
        worker.metrics.serve(metrics_address)
    ended = threading.Event() if stop is None else stop
    thread = threading.Thread(
        target=worker.run, args=(ended.is_set, ended.wait), name="truerun-worker", daemon=True
    )
    thread.start()
    _log.info("worker_started")
    if stop is None:
        with _signals() as received:
            # A flag that is looked at, since an Event that a handler sets while it is waited for can deadlock.
            while not received and thread.is_alive():
                time.sleep(0.1)
        ended.set()
    else:
        while thread.is_alive() and not stop.wait(1.0):
            pass
    thread.join(_GRACE_SECONDS)
    if thread.is_alive():
        _log.warning("worker_left_a_delivery_behind")
        return
    engine.dispose()
    _log.info("worker_stopped")


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
