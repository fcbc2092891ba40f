"""What becomes of a message after a try, as something to be written down when the database is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import structlog

from app.db import Session, outbox
from app.db.outbox import ClaimedMessage, Topic
from app.worker.backoff import delay_before_retry, is_given_up
from app.worker.metrics import WorkerMetrics
from app.worker.sinks import Delivered, Paused, Refused

_log = structlog.get_logger("truerun.worker")

# Says whether the message was still ours to settle.
Settlement: TypeAlias = Callable[[Session], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claimed message and the ids of those that are settled with it."""

    message: ClaimedMessage
    also: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Settler:
    """Decides what becomes of a message, counts it and says it.

    Args:
        random: Uniform in [0, 1), spreads out retries.
    """

    metrics: WorkerMetrics
    random: Callable[[], float]

    def delivered(self, claimed: Claimed, delivery: Delivered | None) -> Settlement:
        message, kept = claimed.message, delivery or Delivered()
        self.metrics.delivered.labels(message.kind).inc()
        mirrored = [asdict(run) for run in kept.mirrored]
        return lambda session: outbox.mark_delivered(
            session, message, also=claimed.also, receipt=kept.receipt, mirrored=mirrored
        )

    def given_back(self, message: ClaimedMessage) -> Settlement:
        return lambda session: outbox.release(session, message)

    def exhausted(self, message: ClaimedMessage) -> Settlement | None:
        """Bury what was claimed as often as may be without a word of what became of it: it takes its worker along."""
        if is_given_up(message.attempts - 1):
            return self._buried(message, "no worker survived delivering it")
        return None

    def failed(self, message: ClaimedMessage, error: Exception) -> Settlement:
        """Try again later; bury what has failed often enough or can never work; leave a sink alone that asks for it."""
        self.metrics.failed.labels(message.kind).inc()
        if message.topic == Topic.SINK_TESTED:
            # Somebody waits for the answer, and wants no test to arrive hours later.
            return self._buried(message, storable(str(error)) if _explains(error) else said(error))
        if isinstance(error, Paused):
            return self._paused(message, error)
        if isinstance(error, Refused):
            return self._buried(message, storable(str(error)))
        told = said(error)
        if is_given_up(message.attempts):
            return self._buried(message, told)
        delay = delay_before_retry(message.attempts, jitter=self.random())
        _log.warning(
            "delivery_failed", **_named(message), error=told, retry_in_seconds=round(delay.total_seconds(), 1)
        )
        return lambda session: outbox.postpone(session, message, delay=delay, error=told)

    def _paused(self, message: ClaimedMessage, pause: Paused) -> Settlement:
        reason = storable(pause.reason)
        _log.error("sink_paused", **_named(message), reason=reason, seconds=pause.for_.total_seconds())
        return lambda session: outbox.pause(session, message, delay=pause.for_, reason=reason)

    def _buried(self, message: ClaimedMessage, error: str) -> Settlement:
        self.metrics.buried.labels(message.kind).inc()
        _log.error("message_buried", **_named(message), error=error)
        return lambda session: outbox.bury(session, message, error=error)


def _explains(error: Exception) -> bool:
    """Whether its words are a sink's own, for people."""
    return isinstance(error, Paused | Refused)


def with_their_like(session: Session, messages: Sequence[ClaimedMessage]) -> list[Claimed]:
    """With each what is settled with it; asked before any sink reads the state that it delivers."""
    return [Claimed(message=message, also=outbox.owed_like(session, message)) for message in messages]


def said(error: Exception) -> str:
    """What is kept of an error: its kind and its first line, without parameters of statements."""
    return storable(f"{type(error).__name__}: {storable(str(error))}")


def storable(text: str) -> str:
    """The first line of a text, short, as Postgres takes it."""
    lines = text.replace("\0", "").strip().splitlines()
    return (lines[0] if lines else "")[:500].encode(errors="replace").decode()


def _named(message: ClaimedMessage) -> dict[str, object]:
    return {
        "project": str(message.project_id),
        "message": message.id,
        "sink": message.sink,
        "topic": message.topic,
        "tries": message.attempts,
    }
