"""Client, spool, a network that loses, doubles and reorders, and a service, driven through any order of events."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.client.fake_streams import Stream
from truerun.answers import Answer
from truerun.feed import Feed, Next
from truerun.points import Keys, Other, Point
from truerun.segments import Record
from truerun.store import Store

LOSS = Keys("", "", (("", "loss"),))
VAL = Keys("", "val", (("k=4", "mse"), ("", "loss")))
SCHEDULES = int(os.environ.get("FAULTS_SCHEDULES", "500"))


def a_record(idx: int, kind: str) -> Record:
    if kind == "event":
        return Other(idx, {"type": "event", "title": str(idx)})
    if kind == "reject":
        return Point(idx, idx, float(idx), Keys("", "", (("", "reject me"),)), (1.0,))
    keys = LOSS if kind == "loss" else VAL
    return Point(idx, idx // 3, float(idx), keys, tuple(float(idx + i) for i in range(len(keys.names))))


class Writer:
    """One process of one attempt: its store, its feed, what it has logged."""

    def __init__(self, directory: Path, stream_id: UUID) -> None:
        self.stream_id = stream_id
        self.directory = directory / str(stream_id)
        self.logged: dict[int, Record] = {}
        self.store = Store(self.directory, stream_id, lambda *_: None)
        self.feed = self.a_feed(self.store)
        self.is_alive = True
        self.lost: set[int] = set()

    def a_feed(self, store: Store) -> Feed:
        return Feed(
            store, {"role": "train"}, counts=lambda: {"logged": len(self.logged)}, set_aside=self.aside
        )

    def aside(self, record: Record, _why: str) -> None:
        self.lost.add(record.idx)


class Delivery(RuleBasedStateMachine):
    """Whatever happens in between: one record has one content, what is acknowledged stays, nothing comes twice."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="truerun-machine-"))
        self.service: dict[UUID, Stream] = {}
        self.writers: list[Writer] = []
        self.feeds: list[tuple[Writer, Feed]] = []
        # Requests and answers under way: (writer, feed, body or answer).
        self.requests: deque[tuple[Writer, Feed, bytes]] = deque()
        self.answers: deque[tuple[Feed, Answer]] = deque()
        self.acknowledged: dict[UUID, int] = {}
        self.now = 0.0
        self.start()

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            try:
                self.everything_ends_somewhere()
            finally:
                shutil.rmtree(self.directory)

    @rule()
    def start(self) -> None:
        """A further attempt, with a stream of its own."""
        if len(self.writers) < 2:
            writer = Writer(self.directory, uuid4())
            self.writers.append(writer)
            self.feeds.append((writer, writer.feed))

    @rule(
        data=st.data(),
        kinds=st.lists(st.sampled_from(["loss", "val", "event", "reject"]), min_size=1, max_size=8),
    )
    def log(self, data: st.DataObject, kinds: list[str]) -> None:
        writer = data.draw(st.sampled_from(self.writers))
        if writer.is_alive:
            first = len(writer.logged)
            records = [a_record(first + i, kind) for i, kind in enumerate(kinds)]
            writer.logged.update({record.idx: record for record in records})
            self.now += 1.0
            writer.store.append(records, now=self.now)

    @precondition(lambda self: self.feeds and not self.requests)
    @rule(data=st.data())
    def send_and_arrive(self, data: st.DataObject) -> None:
        """What happens nearly always, so that what happens seldom is met in the middle of something."""
        writer, feed, body = self._request(data)
        self.answers.append((feed, self._served(writer, body)))

    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(self.writers))
        if writer.is_alive:
            writer.store.seal()

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """The process is gone; what it wrote to its files stays."""
        writer = data.draw(st.sampled_from(self.writers))
        writer.is_alive = False
        self.feeds = [(owner, feed) for owner, feed in self.feeds if feed is not writer.feed]

    @rule(data=st.data())
    def find_leftovers(self, data: st.DataObject) -> None:
        """Somebody uploads what a dead process left; a second one may do so at the same time."""
        writer = data.draw(st.sampled_from(self.writers))
        if not writer.is_alive and writer.directory.exists() and len(self.feeds) < 6:
            store = Store.leftover(writer.directory, lambda *_: None)
            self.feeds.append((writer, writer.a_feed(store)))

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        if self.feeds and len(self.requests) < 6:
            self.requests.append(self._request(data))

    def _request(self, data: st.DataObject) -> tuple[Writer, Feed, bytes]:
        writer, feed = data.draw(st.sampled_from(self.feeds))
        feed.most_records = data.draw(st.integers(1, 6))
        body, is_packed = feed.body()
        return writer, feed, gzip.decompress(body) if is_packed else body

    @precondition(lambda self: self.requests)
    @rule(
        data=st.data(),
        fate=st.sampled_from(["arrives", "arrives twice", "is lost", "arrives, answer lost", "500"]),
    )
    def request(self, data: st.DataObject, fate: str) -> None:
        """Requests arrive in any order."""
        i = data.draw(st.integers(0, len(self.requests) - 1))
        writer, feed, body = self.requests[i]
        del self.requests[i]
        if fate == "is lost":
            self.answers.append((feed, Answer(trouble="nobody answered")))
            return
        if fate == "500":
            self.answers.append((feed, Answer(status=500, document={"detail": "no"})))
            return
        if fate == "arrives twice":
            self._served(writer, body)
        answer = self._served(writer, body)
        if fate == "arrives, answer lost":
            answer = Answer(trouble="the answer was lost")
        self.answers.append((feed, answer))

    @precondition(lambda self: self.answers)
    @rule()
    def hear(self) -> None:
        feed, answer = self.answers.popleft()
        if any(feed is known for _, known in self.feeds):
            assert feed.take(answer) is not Next.PARK

    def _served(self, writer: Writer, body: bytes) -> Answer:
        stream = self.service.setdefault(writer.stream_id, Stream())
        status, document = stream.take(json.loads(body))
        if status == 200:
            known = self.acknowledged.get(writer.stream_id, 0)
            self.acknowledged[writer.stream_id] = max(known, document["next_idx"])
        return Answer(status=status, document=document)

    @invariant()
    def the_books_balance(self) -> None:
        for writer in getattr(self, "writers", ()):
            stream = self.service.get(writer.stream_id, Stream())
            assert stream.balances
            # What was acknowledged is never taken back.
            assert stream.next_idx >= self.acknowledged.get(writer.stream_id, 0)
            for idx, stored in stream.stored.items():
                record = writer.logged[idx]
                if isinstance(record, Point):
                    names = [f"{group}:{name}" if group else name for group, name in record.keys.names]
                    assert stored["values"] == dict(zip(names, record.numbers, strict=True))
                else:
                    assert stored["title"] == str(idx)

    def everything_ends_somewhere(self) -> None:
        """With a network that works again every record ends stored, rejected, or in a gap; none of a file is lost."""
        for writer in self.writers:
            if writer.is_alive:
                feed = writer.feed
                writer.store.seal()
            elif writer.directory.exists():
                feed = writer.a_feed(Store.leftover(writer.directory, lambda *_: None))
            else:
                continue
            self._drain(writer, feed)
            stream = self.service.get(writer.stream_id, Stream())
            assert stream.next_idx == len(writer.logged)
            assert stream.gaps == []
            assert set(stream.stored) | set(stream.rejected) == set(writer.logged)
        self.the_books_balance()

    def _drain(self, writer: Writer, feed: Feed) -> None:
        for _ in range(50):
            if not feed.has_more:
                return
            body, is_packed = feed.body()
            answered: Callable[[bytes], Answer] = lambda sent: self._served(writer, sent)  # noqa: E731
            assert feed.take(answered(gzip.decompress(body) if is_packed else body)) is Next.GO_ON
        raise AssertionError("it does not come to an end")


TestDelivery: Any = Delivery.TestCase
TestDelivery.settings = settings(max_examples=SCHEDULES, stateful_step_count=50, deadline=None)
