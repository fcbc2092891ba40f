"""Deliveries that take seconds: each in a thread of its own, so that none holds up another sink or the judging."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from app.db import SessionFactory, outbox
from app.worker.backoff import delay_before_retry
from app.worker.metrics import WorkerMetrics
from app.worker.settling import Claimed, Settlement, Settler, said, with_their_like
from app.worker.sinks import Delivered, Sink

_log = structlog.get_logger("truerun.worker")
_LOOK_SECONDS = 0.25
_LAST_CALL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePace:
    """How a lane spends its time.

    Args:
        poll_seconds: How often it looks whether anything is owed.
        lease: How long a claimed message is ours; renewed while its delivery is under way. When a worker vanishes, so
            long does nobody deliver what it held.
        longest: After so long a delivery counts as failed and its thread is left to itself.
    """

    poll_seconds: float = 0.5
    lease: timedelta = timedelta(seconds=20)
    longest: timedelta = timedelta(seconds=90)


@dataclass(slots=True, eq=False)
class Flight:
    """A delivery under way, and what came of it."""

    claimed: Claimed
    began: float
    has_landed: bool = False
    has_arrived: bool = False
    delivery: Delivered | None = None
    error: Exception | None = None


@dataclass(slots=True)
class Lane:
    """Delivers what is owed to the sinks of one kind.

    At most one message of a sink at a time: a sink that hangs takes one slot, not all of them. The lane's own thread
    alone speaks to the database: it claims, renews leases, and writes down what became of deliveries, which it keeps
    in `_settlements` while the database is away.

    Args:
        slots: How many deliveries may be under way at once.
    """

    sessions: SessionFactory
    kind: str
    sink: Sink
    slots: int
    random: Callable[[], float]
    pace: LanePace = field(default_factory=LanePace)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    _settler: Settler = field(init=False)
    _flights: list[Flight] = field(default_factory=list)
    _settlements: deque[Settlement] = field(default_factory=deque)
    _renewed_at: float = 0.0
    _wake: threading.Event = field(default_factory=threading.Event)
    _failures: int = 0

    def __post_init__(self) -> None:
        self._settler = Settler(metrics=self.metrics, random=self.random)

    @property
    def left_behind(self) -> int:
        """How many deliveries are under way."""
        return len(self._flights)

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Step until stopped; then wait a moment for what is under way."""
        while not is_stopped():
            deadline = time.monotonic() + self._guarded(self.step)
            while not is_stopped() and (left := deadline - time.monotonic()) > 0:
                if self._wake.wait(min(left, _LOOK_SECONDS)) and not self._failures:
                    break
        self._guarded(self._leave)

    def step(self) -> float:
        """Write down what has landed, hold what is under way, start what is owed; how many seconds to rest."""
        self._wake.clear()
        self._land()
        self._settle()
        self._renew()
        self._start()
        return self.pace.poll_seconds

    def _guarded(self, step: Callable[[], float]) -> float:
        try:
            pause = step()
        except Exception as error:  # noqa: BLE001  the door: nothing that fails in here may end the lane
            self._failures += 1
            self.metrics.stumbled.inc()
            pause = min(10.0, delay_before_retry(self._failures, jitter=self.random()).total_seconds())
            _log.warning(
                "worker_step_failed",
                kind=self.kind,
                error=said(error),
                failures=self._failures,
                pause_seconds=pause,
            )
            return pause
        self._failures = 0
        return pause

    def _land(self) -> None:
        now, longest = time.monotonic(), self.pace.longest.total_seconds()
        for flight in list(self._flights):
            message = flight.claimed.message
            if flight.has_landed:
                if flight.has_arrived:
                    settlement = self._settler.delivered(flight.claimed, flight.delivery)
                else:
                    # Without an error its thread was ended by something that is none.
                    error = flight.error or RuntimeError("the delivery ended without a word")
                    settlement = self._settler.failed(message, error)
            elif now - flight.began > longest:
                # Settled as failed, its thread can mark nothing any more, whatever becomes of it.
                settlement = self._settler.failed(message, TimeoutError(f"no end within {longest:g} s"))
            else:
                continue
            self._flights.remove(flight)
            self._settlements.append(settlement)

    def _settle(self) -> None:
        while self._settlements:
            with self.sessions.begin() as session:
                was_ours = self._settlements[0](session)
            if not was_ours:
                _log.warning("lease_lost", kind=self.kind)
            self._settlements.popleft()

    def _renew(self) -> None:
        now = time.monotonic()
        if not self._flights or now - self._renewed_at < self.pace.lease.total_seconds() / 4:
            return
        self._renewed_at = now
        messages = [flight.claimed.message for flight in self._flights]
        with self.sessions.begin() as session:
            kept = outbox.renew(session, messages, lease=self.pace.lease)
        if kept < len(messages):
            _log.warning("lease_lost", kind=self.kind, messages=len(messages) - kept)

    def _start(self) -> None:
        while len(self._flights) < self.slots and (claimed := self._claim()) is not None:
            exhausted = self._settler.exhausted(claimed.message)
            if exhausted is not None:
                self._settlements.append(exhausted)
                self._settle()
                continue
            flight = Flight(claimed=claimed, began=time.monotonic())
            thread = threading.Thread(
                target=self._fly,
                args=(flight,),
                name=f"truerun-{self.kind}-{claimed.message.id}",
                daemon=True,
            )
            self._flights.append(flight)
            thread.start()

    def _claim(self) -> Claimed | None:
        with self.sessions.begin() as session:
            messages = outbox.claim(
                session,
                kinds=[self.kind],
                lease_id=uuid4(),
                lease=self.pace.lease,
                limit=1,
                but_not_for=self._busy,
            )
            claimed = with_their_like(session, messages)
        return claimed[0] if claimed else None

    @property
    def _busy(self) -> set[tuple[UUID, str]]:
        messages = [flight.claimed.message for flight in self._flights]
        return {(message.project_id, message.sink) for message in messages}

    def _fly(self, flight: Flight) -> None:
        try:
            flight.delivery = self.sink.deliver(flight.claimed.message)
            flight.has_arrived = True
        except Exception as error:  # noqa: BLE001  the door: whatever a sink raises is a failed try
            flight.error = error
        finally:
            flight.has_landed = True
            self._wake.set()

    def _leave(self) -> float:
        deadline = time.monotonic() + _LAST_CALL_SECONDS
        while self._flights and time.monotonic() < deadline:
            self._wake.wait(_LOOK_SECONDS / 5)
            self._wake.clear()
            self._land()
            self._settle()
        return 0.0
