"""The worker's loop: one step after another, whatever fails, until it is told to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from app.db import Session, SessionFactory, outbox
from app.db.outbox import ClaimedMessage
from app.services.rejudge import rejudge_batch
from app.worker.backoff import delay_before_retry, is_given_up
from app.worker.compacting import Compactor
from app.worker.metrics import WorkerMetrics
from app.worker.silence import Listener
from app.worker.sinks import Sink
from app.worker.tidying import Tidier

_log = structlog.get_logger("truerun.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the worker spends its time.

    Args:
        poll_seconds: How long it rests when nothing is owed.
        lease: How long a claimed message is ours; after half of it, what was not tried is given back.
        claimed_at_once, rejudged_at_once: So few that a step is short.
        tidied_every: How often to look for what has outlived its project's retention.
    """

    poll_seconds: float = 0.5
    lease: timedelta = timedelta(seconds=60)
    claimed_at_once: int = 20
    rejudged_at_once: int = 10
    tidied_every: timedelta = timedelta(minutes=5)


@dataclass(slots=True)
class Worker:
    """Delivers what is owed and judges again what is stale, one short step at a time.

    No transaction is open while a sink is at work. What the worker knows about a delivery and could not write down,
    because the database was away, it keeps in `_settlement` and writes down first when the database is back; if the
    worker dies before, the lease runs out and the message is delivered a second time.
    """

    sessions: SessionFactory
    sinks: Mapping[str, Sink]
    random: Callable[[], float]
    pace: Pace = field(default_factory=Pace)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    tidier: Tidier = field(init=False)
    listener: Listener = field(init=False)
    compactor: Compactor = field(init=False)
    _claimed: deque[ClaimedMessage] = field(default_factory=deque)
    _claimed_until: float = 0.0
    _in_hand: ClaimedMessage | None = None
    _settlement: Callable[[Session], bool] | None = None
    _failures: int = 0

    def __post_init__(self) -> None:
        every = self.pace.tidied_every
        # Not while everything starts, and yet soon: a worker that is restarted every few minutes tidies too.
        self.listener = Listener(sessions=self.sessions)
        self.compactor = Compactor(sessions=self.sessions)
        self.tidier = Tidier(sessions=self.sessions, every=every, at_first=every / 10)

    def run(self, is_stopped: Callable[[], bool], rest: Callable[[float], object]) -> None:
        """Step until stopped; then give back what was claimed and not tried.

        Args:
            is_stopped: Asked between steps.
            rest: Waits so many seconds, less when the worker is stopped.
        """
        while not is_stopped():
            pause = self._guarded(self.step)
            if pause:
                rest(pause)
        self._guarded(self._leave)

    def step(self) -> float:
        """Do one thing; how many seconds to rest after it."""
        if self._settlement is not None:
            return self._settle()
        if not self._claimed:
            # In turns, so that neither many deliveries nor many stale verdicts keep the other waiting; and deliveries
            # first, so that they go on even if judging fails every time.
            self._claim()
            judged = self._upkeep()
            marked = self.listener.step() or (not judged and self.compactor.step())
            tidied = not judged and self.tidier.step()
            if not self._claimed:
                return 0.0 if judged or marked or tidied else self.pace.poll_seconds
        self._deliver(self._claimed.popleft())
        return 0.0

    def _guarded(self, step: Callable[[], float]) -> float:
        try:
            pause = step()
        except Exception as error:  # noqa: BLE001  the door: nothing that fails in here may end the worker
            return self._survive(error)
        self._failures = 0
        self.metrics.last_step.set_to_current_time()
        return pause

    def _survive(self, error: Exception) -> float:
        message, self._in_hand = self._in_hand, None
        if message is not None:
            self._settlement = self._failed(message, error)
            return 0.0
        self._failures += 1
        self.metrics.stumbled.inc()
        pause = delay_before_retry(self._failures, jitter=self.random()).total_seconds()
        _log.warning("worker_step_failed", error=_said(error), failures=self._failures, pause_seconds=pause)
        return min(pause, 10.0)

    def _settle(self) -> float:
        if self._settlement is not None:
            with self.sessions.begin() as session:
                was_ours = self._settlement(session)
            if not was_ours:
                _log.warning("lease_lost")
        self._settlement = None
        return 0.0

    def _upkeep(self) -> int:
        """How many verdicts were given again."""
        with self.sessions.begin() as session:
            judged = rejudge_batch(session, now=datetime.now(UTC), limit=self.pace.rejudged_at_once)
        if judged:
            self.metrics.judged.inc(judged)
            _log.info("judged_again", evaluations=judged)
        return judged

    def _claim(self) -> None:
        self._claimed_until = time.monotonic() + self.pace.lease.total_seconds() / 2
        with self.sessions.begin() as session:
            messages = outbox.claim(
                session,
                kinds=list(self.sinks),
                lease_id=uuid4(),
                lease=self.pace.lease,
                limit=self.pace.claimed_at_once,
            )
        self._claimed.extend(messages)

    def _deliver(self, message: ClaimedMessage) -> None:
        if time.monotonic() > self._claimed_until:
            # The ones before took long; whoever claims this now has a whole lease for it.
            self._settlement = _given_back(message)
        elif is_given_up(message.attempts - 1):
            # It was claimed so often and nobody ever said what became of it: it takes its worker down with it.
            self._settlement = self._buried(message, "no worker survived delivering it")
        else:
            self._in_hand = message
            self.sinks[message.kind].deliver(message)
            self._in_hand = None
            self.metrics.delivered.labels(message.kind).inc()
            self._settlement = _delivered(message)
        self._settle()

    def _leave(self) -> float:
        self._settle()
        while self._claimed:
            self._settlement = _given_back(self._claimed.popleft())
            self._settle()
        return 0.0

    def _failed(self, message: ClaimedMessage, error: Exception) -> Callable[[Session], bool]:
        """Try again later, or bury what has failed often enough."""
        said = _said(error)
        self.metrics.failed.labels(message.kind).inc()
        if is_given_up(message.attempts):
            return self._buried(message, said)
        delay = delay_before_retry(message.attempts, jitter=self.random())
        _log.warning(
            "delivery_failed", **_named(message), error=said, retry_in_seconds=round(delay.total_seconds(), 1)
        )
        return lambda session: outbox.postpone(session, message, delay=delay, error=said)

    def _buried(self, message: ClaimedMessage, error: str) -> Callable[[Session], bool]:
        self.metrics.buried.labels(message.kind).inc()
        _log.error("message_buried", **_named(message), error=error)
        return lambda session: outbox.bury(session, message, error=error)


def _delivered(message: ClaimedMessage) -> Callable[[Session], bool]:
    return lambda session: outbox.mark_delivered(session, message)


def _given_back(message: ClaimedMessage) -> Callable[[Session], bool]:
    return lambda session: outbox.release(session, message)


def _named(message: ClaimedMessage) -> dict[str, object]:
    return {
        "project": str(message.project_id),
        "message": message.id,
        "sink": message.sink,
        "topic": message.topic,
        "tries": message.attempts,
    }


def _said(error: Exception) -> str:
    """What is kept of an error: its kind and its first line, without parameters of statements, as Postgres takes it."""
    lines = str(error).replace("\0", "").strip().splitlines()
    said = f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]
    return said.encode(errors="replace").decode()
