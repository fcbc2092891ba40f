"""What the service's answer means for the thing that was sent, and how long to wait."""

from __future__ import annotations

import email.utils
import math
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any

PARK_SECONDS = 300.0
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0


class Fate(Enum):
    """What becomes of a request: done, refused for good, tried again soon, or once somebody acted."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PARKED = "parked"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP exchange.

    Args:
        status: None when there was no answer at all; then `trouble` says why.
        document: The JSON object of the body, None when the body is none.
        text: The whole body, where somebody asked for something else than JSON.
        retry_after: The header, verbatim.
    """

    status: int | None = None
    document: dict[str, Any] | None = None
    text: str = ""
    retry_after: str | None = None
    trouble: str = ""

    @property
    def reason(self) -> str:
        """Why it was not accepted, in one line."""
        if self.status is None:
            return self.trouble
        problem = self.document or {}
        detail = problem.get("detail") or problem.get("title")
        if isinstance(detail, str) and detail:
            field_name = problem.get("field")
            prefix = f"{field_name}: " if isinstance(field_name, str) and field_name not in detail else ""
            return f"{prefix}{detail} ({self.status})"
        if self.document is None:
            return f"the answer ({self.status}) is not the service's own"
        return f"the service answered {self.status}"

    @property
    def problem(self) -> dict[str, Any]:
        """The refusal as a document, whatever shape it came in."""
        return {"status": self.status, "detail": self.reason, **(self.document or {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a request hopes for: the member of its answer, and the statuses that refuse it for good."""

    member: str
    refusals: frozenset[int] = field(default_factory=frozenset)


HANDSHAKE = Expectation(member="run_id")
EVALUATION = Expectation(member="gate", refusals=frozenset({400, 404, 409, 413, 422}))


def fate(answer: Answer, expected: Expectation) -> Fate:
    """Read one answer.

    Only the service's own JSON can accept or refuse. A login page, a proxy's HTML or a redirect says nothing
    about the data, so they are tried again; except 413, which a proxy may rightly say for the service.
    """
    status, document = answer.status, answer.document
    if status is None or status in (408, 425, 429) or status >= 500 or 300 <= status < 400 or status < 200:
        return Fate.RETRY
    if status < 300:
        return Fate.ACCEPTED if document is not None and expected.member in document else Fate.RETRY
    if status in (401, 403):
        return Fate.PARKED
    if status == 413 and status in expected.refusals:
        return Fate.REJECTED
    if document is None:
        return Fate.RETRY
    return Fate.REJECTED if status in expected.refusals else Fate.PARKED


def backoff_seconds(failures: int, jitter: float, retry_after: float | None = None) -> float:
    """How long to wait after the n-th failure in a row (n from 1): full jitter under a doubling ceiling.

    Args:
        jitter: Drawn evenly from [0, 1).
        retry_after: Seconds that the service asked for; waited for at least.
    """
    ceiling = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 16))
    return max(jitter * ceiling, 0.05, retry_after or 0.0)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """The Retry-After header in seconds, within [0, 600]; None when it says nothing usable."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - now).total_seconds()
    if math.isnan(seconds) or seconds < 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS)
