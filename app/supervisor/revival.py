"""Starting our Postgres again when it ends by itself: killed for its memory, or in a panic over a full disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from app.embedded import EmbeddedPostgresError
from app.supervisor.children import ServiceFailed

_log = structlog.get_logger("truerun.supervisor")

# It ended so often within so short a time: starting it once more would only hide what is wrong.
MOST_ENDS = 5
WITHIN_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 5.0


class Startable(Protocol):
    """What an embedded Postgres is to whoever keeps it running."""

    def is_running(self) -> bool: ...

    def start_again(self) -> None: ...


@dataclass(slots=True)
class Revival:
    """Keeps a Postgres running; while it does not start, the API answers 503 and the worker waits.

    Args:
        log: Where it says why it ended.
        clock: Seconds that only grow.
    """

    postgres: Startable
    log: Path
    clock: Callable[[], float] = time.monotonic
    _ends: deque[float] = field(default_factory=deque)
    _is_down: bool = False
    _pause_seconds: float = 0.0
    _not_before: float = 0.0

    def look(self) -> None:
        """Start it again if it has ended; one try, after a pause that grows while tries fail.

        Raises:
            ServiceFailed: It ends again and again.
        """
        if not self._is_down:
            if self.postgres.is_running():
                return
            self._note_end()
        if self.clock() >= self._not_before:
            self._try()

    def _note_end(self) -> None:
        now = self.clock()
        self._ends.append(now)
        while self._ends[0] <= now - WITHIN_SECONDS:
            self._ends.popleft()
        if len(self._ends) > MOST_ENDS:
            raise ServiceFailed(
                f"Postgres ended unexpectedly {len(self._ends)} times within {WITHIN_SECONDS:.0f} s; "
                f"its log is {self.log}"
            )
        _log.warning("postgres_ended_unexpectedly", log=str(self.log))
        self._is_down, self._pause_seconds, self._not_before = True, 0.0, now

    def _try(self) -> None:
        try:
            self.postgres.start_again()
        except (EmbeddedPostgresError, OSError) as error:
            self._pause_seconds = min(max(0.5, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
            self._not_before = self.clock() + self._pause_seconds
            _log.warning(
                "postgres_does_not_start",
                error=str(error).partition("\n")[0],
                next_try_in_seconds=self._pause_seconds,
            )
            return
        self._is_down = False
        _log.warning("postgres_runs_again")
