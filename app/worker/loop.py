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
from app.worker.backoff import delay_before_retry
from app.worker.compacting import Compactor
from app.worker.metrics import WorkerMetrics
from app.worker.settling import Claimed, Settlement, Settler, said, with_their_like
from app.worker.silence import Listener
from app.worker.sinks import Paused, Sink
from app.worker.tidying import Tidier

_log = structlog.get_logger("truerun.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the worker spends its time.

    Args:
        poll_seconds: How long it rests when nothing is owed.
        lease: How long a claimed message is ours; after half of it, what was not tried is given back. When a worker
            vanishes, so long does nobody deliver what it held.
        claimed_at_once, rejudged_at_once: So few that a step is short.
        tidied_every: How often to look for what has outlived its project's retention.
    """

    poll_seconds: float = 0.5
    lease: timedelta = timedelta(seconds=20)
    claimed_at_once: int = 20
    rejudged_at_once: int = 10
    tidied_every: timedelta = timedelta(minutes=5)


@dataclass(slots=True)
class Worker:
    """Delivers what is owed to sinks that take no time, and judges again what is stale, one short step at a time.

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
    _settler: Settler = field(init=False)
    _claimed: deque[Claimed] = field(default_factory=deque)
    _claimed_until: float = 0.0
    _in_hand: ClaimedMessage | None = None
    _settlement: Settlement | None = None
    _is_upkeeps_turn: bool = False
    _has_delivered: bool = False
    _failures: int = 0

    def __post_init__(self) -> None:
        every = self.pace.tidied_every
        # Not while everything starts, and yet soon: a worker that is restarted every few minutes tidies too.
        self.listener = Listener(sessions=self.sessions)
        self.compactor = Compactor(sessions=self.sessions)
        self.tidier = Tidier(sessions=self.sessions, every=every, at_first=every / 10)
        self._settler = Settler(metrics=self.metrics, random=self.random)

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
        # In turns, so that neither many deliveries nor many stale verdicts keep the other waiting, and neither stops
        # when the other fails every time. What is claimed is delivered at once: a long judging would use up the lease.
        if not self._claimed and not self._is_upkeeps_turn:
            self._is_upkeeps_turn = True
            self._claim()
        if self._claimed:
            self._deliver(self._claimed.popleft())
            # Only what went well makes the next message due; when all failed there is time to rest.
            self._has_delivered = True
            return 0.0
        has_delivered, self._has_delivered = self._has_delivered, False
        self._is_upkeeps_turn = False
        return 0.0 if self._upkeep() or has_delivered else self.pace.poll_seconds

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
            self._settlement = self._settler.failed(message, error)
            if isinstance(error, Paused):
                self._settlement = _all_of(self._settlement, *self._spared(message))
            return 0.0
        self._failures += 1
        self.metrics.stumbled.inc()
        pause = delay_before_retry(self._failures, jitter=self.random()).total_seconds()
        _log.warning("worker_step_failed", error=said(error), failures=self._failures, pause_seconds=pause)
        return min(pause, 10.0)

    def _settle(self) -> float:
        if self._settlement is not None:
            with self.sessions.begin() as session:
                was_ours = self._settlement(session)
            if not was_ours:
                _log.warning("lease_lost")
        self._settlement = None
        return 0.0

    def _upkeep(self) -> bool:
        """Whether there may be more to do at once."""
        judged = self._judge_again()
        marked = self.listener.step() or (not judged and self.compactor.step())
        return (not judged and self.tidier.step()) or marked or bool(judged)

    def _judge_again(self) -> int:
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
            claimed = with_their_like(session, messages)
        self._claimed.extend(claimed)

    def _deliver(self, claimed: Claimed) -> None:
        message = claimed.message
        if time.monotonic() > self._claimed_until:
            # The ones before took long; whoever claims this now has a whole lease for it.
            self._settlement = self._settler.given_back(message)
        else:
            self._settlement = self._settler.exhausted(message)
        if self._settlement is None:
            self._in_hand = message
            delivery = self.sinks[message.kind].deliver(message)
            self._in_hand = None
            self._settlement = self._settler.delivered(claimed, delivery)
        self._settle()

    def _spared(self, paused: ClaimedMessage) -> list[Settlement]:
        """Give back what else was claimed for a sink that is paused."""
        where = (paused.project_id, paused.sink)
        same = [each for each in self._claimed if (each.message.project_id, each.message.sink) == where]
        self._claimed = deque(each for each in self._claimed if each not in same)
        return [self._settler.given_back(each.message) for each in same]

    def _leave(self) -> float:
        self._settle()
        while self._claimed:
            self._settlement = self._settler.given_back(self._claimed.popleft().message)
            self._settle()
        return 0.0


def _all_of(*settlements: Settlement) -> Settlement:
    def settle_all(session: Session) -> bool:
        were_ours = [settle(session) for settle in settlements]
        return all(were_ours)

    return settle_all
