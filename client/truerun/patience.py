"""When the next try may be made, and why not before."""

from __future__ import annotations

import random
import time
from enum import Enum

from truerun.answers import PARK_SECONDS, Answer, backoff_seconds, retry_after_seconds
from truerun.transport import now


class Hold(Enum):
    """Why nothing is sent for the moment; only a back-off is cut short by news."""

    NONE = "none"
    BACK_OFF = "back_off"
    ASKED = "asked"
    PARKED = "parked"


class Patience:
    """The sender's memory of how it was received.

    Attributes:
        trouble: What went wrong last, in words; empty when all is well.
        until: No try before this moment of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self.until = 0.0
        self._hold = Hold.NONE
        self._failures = 0
        self._failing_since: float | None = None

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self.until

    @property
    def is_parked(self) -> bool:
        return self._hold is Hold.PARKED and self.is_held

    @property
    def failing_seconds(self) -> float:
        """For how long nothing has worked."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    def recover(self) -> None:
        """Something worked."""
        self._hold, self._failures, self._failing_since, self.trouble = Hold.NONE, 0, None, ""

    def fail(self, answer: Answer) -> None:
        """Something did not work; others may be tried at once."""
        self.trouble = answer.reason
        if self._failing_since is None:
            self._failing_since = time.monotonic()

    def back_off(self, answer: Answer) -> None:
        """Nothing works; wait a while, and at least as long as the service asked for."""
        self.fail(answer)
        self._failures += 1
        asked = retry_after_seconds(answer.retry_after, now())
        self._hold = Hold.BACK_OFF if asked is None else Hold.ASKED
        self.until = time.monotonic() + backoff_seconds(self._failures, jitter(), asked)

    def park(self, reason: str) -> None:
        """Nothing will work until a person has mended something."""
        self.trouble = reason
        self._hold, self.until = Hold.PARKED, time.monotonic() + PARK_SECONDS

    def hear_news(self) -> None:
        """News is worth a try before a back-off is over."""
        if self._hold is Hold.BACK_OFF:
            self.until = 0.0


def jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, hides nothing
