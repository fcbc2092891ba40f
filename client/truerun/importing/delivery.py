"""Sending records of one stream until they are settled, or saying why that cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from truerun.answers import Answer, backoff_seconds, retry_after_seconds
from truerun.courier import Courier
from truerun.feed import Feed, Next
from truerun.importing.past import Tally, Unavailable
from truerun.patience import jitter
from truerun.points import Point
from truerun.segments import Record
from truerun.store import Store
from truerun.transport import now

MOST_TRIES = 8


class Refusal(Exception):
    """The service does not take this run; the next one may be another matter."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How many records of points were settled, and how many numbers of theirs were stored."""

    records: int
    points: int


class Tries:
    """Asks the service again while it cannot answer.

    Args:
        pause: Waits so many seconds before the next try; tests hand in one that does not wait.
    """

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause

    def asked(self, ask: Callable[[], Answer]) -> Answer:
        """The first answer that means something.

        Raises:
            Unavailable: None of MOST_TRIES did.
        """
        answer = Answer()
        for failures in range(1, MOST_TRIES + 1):
            answer = ask()
            status = answer.status
            if status is not None and status < 500 and status not in (408, 425, 429):
                return answer
            if failures < MOST_TRIES:
                asked = retry_after_seconds(answer.retry_after, now())
                self._pause(backoff_seconds(failures, jitter(), asked))
        raise Unavailable(answer.reason)


def deliver(courier: Courier, stream: UUID, batch: list[Record], tally: Tally, tries: Tries) -> Sent:
    """Send records that follow those which are settled.

    Raises:
        Unavailable: The service does not answer, or not to us.
        Refusal: The run is archived, or another import of it is under way.
    """
    sizes = {each.idx: len(each.numbers) for each in batch if isinstance(each, Point)}
    # The feed knows what each answer means; the store only holds the batch for it, without a disk.
    store = Store(None, stream, lambda _kind, message: tally.leave("not_a_number", problem=message))
    store.append(batch, now=0.0)
    feed = Feed(
        store,
        {"attempt_id": courier.record.attempt_id, "role": "train", "rank": 0, "live": False},
        counts=lambda: {"logged": store.until},
        set_aside=lambda record, why: tally.leave("too_large", sizes.get(record.idx, 1), problem=why),
    )
    feed.next_idx = batch[0].idx
    while feed.has_more:
        answer = tries.asked(lambda: _sent(courier, stream, feed))
        if answer.status == 409:
            raise Refusal(answer.reason)
        if answer.status != 200:
            raise Unavailable(answer.reason)
    for idx, code in feed.rejected.items():
        tally.leave(code, sizes.get(idx, 1))
    return Sent(len(sizes), sum(size for idx, size in sizes.items() if idx not in feed.rejected))


def _sent(courier: Courier, stream: UUID, feed: Feed) -> Answer:
    """One try: 200 where it goes on, no status where the same is to be sent again, else what the service said."""
    body, is_packed = feed.body()
    answer = courier.post_records(stream, body, is_packed=is_packed)
    if answer.status == 409:
        # Archived meanwhile, or another import is ahead or behind; what the feed would make of it is a gap.
        return answer
    following = feed.take(answer)
    if following is Next.RETRY:
        return Answer(trouble=answer.reason, retry_after=answer.retry_after)
    return Answer(status=200) if following is Next.GO_ON else answer
