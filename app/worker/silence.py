"""Looking for trainings that fell silent: every few seconds, a few at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from app.db import SessionFactory
from app.services.liveness import mark_silent

_log = structlog.get_logger("truerun.worker")
_AT_ONCE = 50


@dataclass(slots=True)
class Listener:
    """Makes silent attempts stale and lost.

    It counts silence from its own start: while the service was away nobody could be heard.

    Args:
        every: How long it rests when nothing changed.
    """

    sessions: SessionFactory
    every: timedelta = timedelta(seconds=5)
    _began: float = field(default_factory=time.monotonic)
    _rests_until: float = 0.0

    def step(self) -> bool:
        """Do a little, if it is time; whether there may be more to do at once."""
        at = time.monotonic()
        if at < self._rests_until:
            return False
        with self.sessions.begin() as session:
            changed = mark_silent(
                session,
                now=datetime.now(UTC),
                listening_for=timedelta(seconds=at - self._began),
                limit=_AT_ONCE,
            )
        if changed:
            _log.info("fell_silent", attempts=changed)
            return True
        self._rests_until = at + self.every.total_seconds()
        return False
