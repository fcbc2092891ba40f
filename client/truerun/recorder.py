"""Taking records on the user's thread, and writing them to the spool on one of our own.

Two threads work for a run: this one writes to the disk, the sender talks to the network. With one thread for both, a
service that does not answer for half a minute would keep records in memory for as long, where a kill loses them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from truerun.answers import Answer
from truerun.feed import Feed, Next
from truerun.images import LateImage, Picture
from truerun.manners import Manners
from truerun.points import Keys, Other, Point
from truerun.segments import Record
from truerun.store import Store

MOST_QUEUED = 10_000
# 8 MiB: a number and the reference to it take 32 bytes.
_NUMBER_BYTES = 32
MOST_QUEUED_NUMBERS = 2**18
GATHER_SECONDS = 0.05
LATE_SECONDS = 60.0
# Of the time a run has to end in; the rest is for sending. What a failed device computed never gets ready.
_LATE_SHARE = 0.5
SEND_EVERY_SECONDS = 1.0
HEARTBEAT_SECONDS = 30.0
_MANY = 5_000


class Late(Protocol):
    """Numbers that a device still computes."""

    def is_ready(self) -> bool: ...

    def values(self) -> Mapping[int, float]:
        """By place in the record; only once they are ready."""
        ...


@dataclass(slots=True)
class LatePoint:
    """A record whose numbers are not all known yet."""

    idx: int
    step: int
    time: float
    keys: Keys
    numbers: list[float]
    late: Late

    def point(self) -> Point:
        for place, number in self.late.values().items():
            self.numbers[place] = number
        return Point(self.idx, self.step, self.time, self.keys, tuple(self.numbers))


Queued = Point | Other | LatePoint | LateImage
# Made once: `LatePoint | LateImage` written out makes a new union at every call of `log`.
_LATE = (LatePoint, LateImage)


class Recorder:
    """One stream of a run.

    Args:
        on_news: Called from our thread when there is something to send.
    """

    def __init__(
        self,
        store: Store,
        *,
        facts: Mapping[str, Any],
        manners: Manners,
        on_news: Callable[[], None],
        set_aside: Callable[[Record, str], None],
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.feed = Feed(store, facts, counts=self._counts, set_aside=set_aside)
        self.stream_id = store.stream_id
        self._store = store
        self._journal = store.journal()
        self._manners = manners
        self._on_news = on_news
        self._queue: deque[Queued] = deque()
        # Re-entrant: a signal handler may log while the thread it interrupts is in here.
        self._lock = threading.RLock()
        self._is_busy = False
        self._aside: deque[Callable[[int], Queued]] = deque()
        self._next = 0
        # Of the queue; two counters, since each is changed by one thread alone.
        self._numbers_put = self._numbers_taken = 0
        self._overflow: tuple[int, int] | None = None
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._written = threading.Event()
        self._store_lock = threading.Lock()
        self._sent_at = -HEARTBEAT_SECONDS
        self._is_ended = False
        self._last_step = -1
        self._end_idx: int | None = None
        self._late_until: float | None = None

    @property
    def logged(self) -> int:
        """How many records were numbered so far."""
        return self._next

    @property
    def last_step(self) -> int | None:
        """The step of the last point; None before the first."""
        return None if self._last_step == -1 else self._last_step

    def start(self) -> None:
        threading.Thread(target=self._work, name="truerun-writer", daemon=True).start()

    def put_point(
        self, keys: Keys, numbers: tuple[float, ...], step: int | None, late: Late | None = None
    ) -> None:
        """Take a record; never waits for anything but other threads that are in here."""
        at = time.time()

        def numbered(idx: int) -> Point | LatePoint:
            where = self._last_step + 1 if step is None else step
            self._last_step = where
            if late is None:
                return Point(idx, where, at, keys, numbers)
            return LatePoint(idx, where, at, keys, list(numbers), late)

        self._put(numbered)

    def put_other(self, document: Mapping[str, Any]) -> None:
        """Take an event, a summary patch or the end."""

        def numbered(idx: int) -> Other:
            if document.get("type") == "finish":
                self._end_idx = idx
            return Other(idx, document)

        self._put(numbered, is_urgent=True)

    def put_image(self, document: Mapping[str, Any], picture: Picture) -> None:
        """Take an image, which is packed later; it waits in the queue as long as numbers of its size would."""
        self._put(lambda idx: LateImage(idx, document, picture))

    @property
    def has_told_end(self) -> bool:
        """Whether the service has acknowledged how the run ended."""
        return self._end_idx is not None and self.feed.next_idx > self._end_idx

    def _put(self, numbered: Callable[[int], Queued], *, is_urgent: bool = False) -> None:
        with self._lock:
            if self._is_busy:
                # A signal handler: it comes after the record that it interrupted.
                self._aside.append(numbered)
                return
            self._is_busy = True
            try:
                self._append(numbered, is_urgent)
                while self._aside:
                    self._append(self._aside.popleft(), is_urgent)
            finally:
                self._is_busy = False
        if not self._wake.is_set():
            self._wake.set()

    def _append(self, numbered: Callable[[int], Queued], is_urgent: bool) -> None:
        idx = self._next
        # First the number, then the record: whatever interrupts us leaves a gap, never two records of one number.
        self._next = idx + 1
        queued_numbers = self._numbers_put - self._numbers_taken
        if (len(self._queue) >= MOST_QUEUED or queued_numbers >= MOST_QUEUED_NUMBERS) and not is_urgent:
            first = idx if self._overflow is None else self._overflow[0]
            self._overflow = (first, idx + 1)
            return
        if self._overflow is not None:
            self._flush_overflow()
        record = numbered(idx)
        self._numbers_put += _numbers_in(record)
        self._queue.append(record)
        if self._journal is not None and not isinstance(record, _LATE):
            # What it cannot take the spool cannot either, and says so.
            with contextlib.suppress(OverflowError):
                self._journal.write(record)

    def _flush_overflow(self) -> None:
        if self._overflow is not None:
            first, until = self._overflow
            self._overflow = None
            gap = {"type": "gap", "until": until, "reason": "queue_full"}
            self._queue.append(Other(first, gap))
            self._manners.complain(
                "queue_full", "records are logged faster than they can be written; some are dropped"
            )

    def flush(self, seconds: float) -> bool:
        """Nothing more will be logged: wait until everything is in the spool and the journal gone; whether it is so.

        What is written after the wait has its journal taken away all the same.
        Numbers that a device does not have ready half-way are given up, as they hold up everything behind them.
        """
        # Without a wait there is no half-way, and a busy device's numbers may still be ready before the process ends.
        self._late_until = time.monotonic() + _LATE_SHARE * seconds if seconds > 0 else None
        self._written.clear()
        self._hurry.set()
        self._wake.set()
        return self._written.wait(seconds)

    def _drop_journal(self) -> None:
        """Nothing more will be logged: the journal goes, unless it holds what the disk does not."""
        with self._lock:
            if self._queue or not self._store.is_on_disk:
                return
            journal, self._journal = self._journal, None
        if journal is not None:
            journal.remove()

    def abandon(self) -> None:
        """In a forked child: the parent's thread goes on, here nothing does."""
        self._is_ended = True
        self._journal = None

    def due_in(self, at: float, *, is_closing: bool) -> float:
        """Seconds until there is something to send.

        Args:
            at: `time.monotonic()`.
        """
        if self.feed.has_more:
            if is_closing or self._store.until - self.feed.next_idx >= _MANY:
                return 0.0
            return max(0.0, self._sent_at + SEND_EVERY_SECONDS - at)
        return max(0.0, self._sent_at + HEARTBEAT_SECONDS - at)

    @property
    def unsent(self) -> int:
        """How many records wait, the end of the run not counted."""
        end = 0 if self._end_idx is None or self.has_told_end else 1
        return max(0, self._next - self.feed.next_idx - end)

    def send(self, post: Callable[[bytes, bool], Answer], *, at: float) -> tuple[Next, Answer]:
        """Send one batch, or a sign of life; called by the sender's thread alone."""
        with self._store_lock:
            body, is_packed = self.feed.body()
        answer = post(body, is_packed)
        with self._store_lock:
            result = self.feed.take(answer)
        self._sent_at = at
        return result, answer

    def close(self, *, is_settled: bool) -> None:
        """Stop writing; with everything settled the directory goes."""
        self._is_ended = True
        self._wake.set()
        with self._store_lock:
            self._store.close(is_settled=is_settled)
        self._drop_journal()

    def _counts(self) -> Mapping[str, Any]:
        # A copy: the user's thread counts on.
        return {"logged": self._next, "dropped": dict(self.dropped)}

    def _work(self) -> None:
        while not self._is_ended:
            # Who has nothing more to say for a while must not lose the last words of an hour ago.
            is_woken = self._wake.wait(self._store.seal_due_in(time.monotonic()))
            if self._is_ended:
                return
            if not is_woken:
                with self._store_lock:
                    self._store.seal_if_due(now=time.monotonic())
                continue
            # Gather what comes in a row; a kill in between loses no more than that.
            self._hurry.wait(GATHER_SECONDS)
            self._wake.clear()
            is_hurried = self._hurry.is_set()
            try:
                is_empty = self._drain()
            except Exception as error:  # noqa: BLE001 - a fault of ours must neither end the thread nor spin it
                self._manners.complain("internal", f"an internal error while writing; going on: {error!r}")
                is_empty = True
            if is_hurried and is_empty:
                self._hurry.clear()
                with self._store_lock:
                    self._store.seal()
                self._drop_journal()
                self._written.set()
            elif not is_empty:
                # A device is not ready yet.
                time.sleep(GATHER_SECONDS / 10)
                self._wake.set()

    def _drain(self) -> bool:
        """Write what is there; whether nothing is left but what came in meanwhile."""
        found: list[Record] = []
        had_more = self.feed.has_more
        with self._lock:
            if self._journal is not None:
                spooled = self._queue[0].idx if self._queue else self._next
                self._journal.turn(spooled=spooled, logged=self._next)
        while self._queue:
            taken = self._queue[0]
            if isinstance(taken, LatePoint) and not taken.late.is_ready():
                if self._may_still_arrive(taken):
                    break
                self.dropped["never_ready"] += 1
                self._take_first()
                continue
            self._take_first()
            record = self._known(taken) if isinstance(taken, LatePoint | LateImage) else taken
            if record is not None:
                found.append(record)
        with self._lock:
            if not self._queue and self._overflow is not None:
                self._flush_overflow()
        if found:
            with self._store_lock:
                self._store.append(found, now=time.monotonic())
            if not had_more:
                self._on_news()
        return not self._queue

    def _may_still_arrive(self, taken: LatePoint) -> bool:
        if self._late_until is not None and time.monotonic() >= self._late_until:
            return False
        return time.time() - taken.time < LATE_SECONDS

    def _take_first(self) -> None:
        taken = self._queue.popleft()
        self._numbers_taken += _numbers_in(taken)

    def _known(self, record: LatePoint | LateImage) -> Record | None:
        if isinstance(record, LateImage):
            packed = record.record()
            if packed.document.get("type") == "gap":
                self._manners.complain(
                    "image_too_large", "an image takes more than 1 MiB even as PNG, and was dropped"
                )
            return packed
        try:
            return record.point()
        except Exception as error:  # noqa: BLE001 - a device's error is the training's own business
            self.dropped["not_readable"] += len(record.numbers)
            self._manners.complain("late", f"numbers of a device could not be read: {error!r}")
            return None


def _numbers_in(queued: Queued) -> int:
    """How many numbers take as much memory as it does while it waits."""
    if isinstance(queued, Point):
        return len(queued.numbers)
    if isinstance(queued, Other):
        return 0
    return queued.size // _NUMBER_BYTES if isinstance(queued, LateImage) else len(queued.numbers)
