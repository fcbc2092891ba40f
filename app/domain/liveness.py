"""Whether a training still lives, by when it was last heard of; silence alone is never a failure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

STALE_AFTER = timedelta(seconds=90)
LOST_AFTER = timedelta(minutes=15)
# Two machines' clocks may differ by so much before one training is taken for two.
CLOCKS_DIFFER = timedelta(seconds=60)


class Status(StrEnum):
    """Of an attempt, and of a run as its newest attempt's; stale and lost are what silence makes of running."""

    RUNNING = "running"
    STALE = "stale"
    LOST = "lost"
    FINISHED = "finished"
    FAILED = "failed"
    PREEMPTED = "preempted"

    @property
    def is_open(self) -> bool:
        """Whether it may still be heard of."""
        return self in (Status.RUNNING, Status.STALE, Status.LOST)


def after_silence(status: Status, silence: timedelta) -> Status:
    """What an attempt is after so much silence; what has ended stays as it ended.

    >>> after_silence(Status.RUNNING, timedelta(seconds=89))
    <Status.RUNNING: 'running'>
    """
    if not status.is_open:
        return status
    if silence >= LOST_AFTER:
        return Status.LOST
    # What was lost is found by hearing of it, not by a clock that went back.
    if silence >= STALE_AFTER or status is Status.LOST:
        return Status.LOST if status is Status.LOST else Status.STALE
    return status


def is_rivalled(*, spoke_at: datetime, newer_began_at: datetime) -> bool:
    """Whether an attempt still trained after a newer one had begun.

    Args:
        spoke_at: When its newest record was made, by its own clock.
    """
    return spoke_at > newer_began_at + CLOCKS_DIFFER
