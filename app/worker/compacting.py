"""Merging small blocks of histories: a little at a time, when a stream fell silent or has grown much."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from app.db import SessionFactory, compaction
from app.db.compaction import Uncompacted

_log = structlog.get_logger("truerun.worker")
_IDLE = timedelta(seconds=60)
_GROWN_BY = 50_000
_AT_ONCE = 20


@dataclass(slots=True)
class Compactor:
    """Goes through the streams that need it, then rests.

    Args:
        every: How long it rests between two rounds.
        idle: For how long a stream must have been silent.
    """

    sessions: SessionFactory
    every: timedelta = timedelta(seconds=30)
    idle: timedelta = _IDLE
    _waiting: deque[Uncompacted] = field(default_factory=deque)
    _rests_until: float = 0.0

    def step(self) -> bool:
        """Do a little, if it is time; whether there may be more to do at once."""
        if not self._waiting:
            at = time.monotonic()
            if at < self._rests_until:
                return False
            self._look()
            if not self._waiting:
                self._rests_until = at + self.every.total_seconds()
                return False
        what = self._waiting[0]
        with self.sessions.begin() as session:
            gone = compaction.merge_some(session, what)
        if gone is None:
            # Not looked through by us, so it is found again.
            self._waiting.popleft()
            return bool(self._waiting)
        if gone:
            _log.info("compacted", run=str(what.run_id), blocks=gone)
            return True
        # In a transaction of its own: writers of this stream wait for no more than this one row.
        with self.sessions.begin() as session:
            compaction.note_compacted(session, what)
        self._waiting.popleft()
        return True

    def _look(self) -> None:
        with self.sessions.begin() as session:
            found = compaction.uncompacted(
                session, idle_since=datetime.now(UTC) - self.idle, grown_by=_GROWN_BY, limit=_AT_ONCE
            )
        self._waiting.extend(found)
