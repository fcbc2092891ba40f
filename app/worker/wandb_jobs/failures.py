"""What an exception of wandb means for the job; without importing wandb, whose errors are told by what they carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.worker.wandb_jobs.outcome import Outcome, State

_LONGEST_REASON = 500
_NOT_LET_IN = re.compile(
    r"not logged in|permission denied|forbidden|unauthorized|invalid api key|WANDB_API_KEY invalid|HTTP 40[13]\b",
    re.IGNORECASE,
)


class Unacceptable(Exception):
    """wandb does not take the job's content as it is."""


def judged(error: BaseException) -> Outcome:
    """`refused` for the content, `paused` for a 401 or 403, `retry` for all else.

    The kind of the error says little: wandb raises an AuthenticationError also when the server is merely down.
    """
    reason = reason_of(error)
    if isinstance(error, Unacceptable):
        return Outcome(state=State.REFUSED, reason=reason)
    statuses = {status for each in _chain(error) if (status := _http_status(each))}
    # Without a status (wandb's `init` does not pass it on) only the words are left.
    is_shut_out = bool(statuses & {401, 403}) or (not statuses and _NOT_LET_IN.search(str(error)) is not None)
    return Outcome(state=State.PAUSED if is_shut_out else State.RETRY, reason=reason)


def reason_of(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:_LONGEST_REASON]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _http_status(error: BaseException) -> int | None:
    """The status that wandb's own error carries; None where it came to no answer."""
    status = getattr(getattr(error, "response", None), "http_status", None)
    return status if isinstance(status, int) and status > 0 else None
