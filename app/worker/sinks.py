"""Where messages go: one sink for each kind that this release knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from app.db.outbox import ClaimedMessage
from app.worker.log_sink import LogSink


class Sink(Protocol):
    def deliver(self, message: ClaimedMessage) -> None:
        """Bring one message to its receiver; it has arrived when this returns.

        The same message may come twice (the worker died before it noted the first time): receivers know it by
        (project_id, id). Any exception counts as a failed try.
        """


SINKS: Mapping[str, Sink] = {"log": LogSink()}
