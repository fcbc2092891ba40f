"""A further rank of a job: it adds a stream to the run that rank 0 opens, and may well come before rank 0 does.

Nothing is agreed between the processes: that would be a collective. Each asks the service by itself and waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from truerun.answers import Answer
from truerun.ranks import process_age, restarts
from truerun.record import RunRecord

# By how much the ranks of one job may be started after one another.
SKEW_SECONDS = 2.0
# A rank 0 that has not come by then goes on with an attempt that it began earlier, or never comes.
LONGEST_WAIT_SECONDS = 120.0


class Asks(Protocol):
    """As much of a Transport as is needed here."""

    def send(self, method: str, path: str, *, seconds: float) -> Answer: ...


class Peers:
    """Finds the attempt that this process is a part of.

    A job that is started again finds its run with the attempt before; that one is not ours when it began before this
    process was started, or when there are no more attempts than the launcher counts starts before this one. Both ages
    are told by one clock each, so that clocks need not agree.

    Attributes:
        is_early: Whether the last try came before rank 0, which is no trouble yet.
    """

    def __init__(self, record: RunRecord, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_early = False
        self._record = record
        self._clock = clock
        self._since = clock()
        self._is_settled = False

    def trouble(self, transport: Asks, answer: Answer, *, seconds: float) -> Answer | None:
        """Why the handshake has to be tried again; None when its answer stands."""
        self.is_early = False
        if self._is_settled:
            return None
        has_waited = self._clock() - self._since >= LONGEST_WAIT_SECONDS
        if answer.status == 404 and answer.document is not None:
            self.is_early = not has_waited
            return Answer(trouble=f"rank 0 has not opened run {self._record.run_key} yet")
        run_id = (answer.document or {}).get("run_id")
        if run_id is None:
            return None
        shown = transport.send("GET", f"/runs/{run_id}/attempts", seconds=seconds)
        if shown.status is None or shown.status >= 500:
            return shown
        ours = self._ours(shown, (answer.document or {}).get("server_time"))
        if ours is None and not has_waited:
            self.is_early = True
            return Answer(trouble=f"rank 0 has not begun an attempt of run {self._record.run_key} yet")
        self._is_settled = True
        if ours:
            self._record.belong_to(ours)
        return None

    def _ours(self, shown: Answer, server_time: Any) -> str | None:
        """The attempt's id; empty where the service does not tell, None where it is not there yet."""
        listed = (shown.document or {}).get("items")
        if shown.status != 200 or not isinstance(listed, list) or not listed:
            return ""
        wanted = self._record.attached_attempt
        if wanted is not None:
            return wanted if any(each.get("attempt_id") == wanted for each in listed) else None
        try:
            newest = max(listed, key=lambda each: int(each["attempt"]))
            number = int(newest["attempt"])
            age = (_moment(server_time) - _moment(newest["started_at"])).total_seconds()
            attempt_id = str(newest["attempt_id"])
        except (KeyError, TypeError, ValueError):
            return ""
        # What was started again at once is too close for its age to tell, but its launcher counts.
        return attempt_id if number > restarts() and age <= process_age() + SKEW_SECONDS else None


def _moment(text: Any) -> datetime:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
