"""Delivering one stream: what is sent next, and what an answer means for it; without thread, clock or network."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from truerun.answers import Answer, Expectation, Fate, fate
from truerun.points import batch_document, encoded, largest
from truerun.segments import Record
from truerun.store import Store

RECORDS = Expectation(member="next_idx")
MOST_RECORDS = 10_000
MOST_BYTES = 4 * 2**20
_PACKED_FROM = 1024


class Next(Enum):
    """What to do after an answer."""

    GO_ON = "go_on"
    RETRY = "retry"
    PARK = "park"


class Feed:
    """Sends a store's records in order, again and again until they are acknowledged.

    Args:
        facts: What every batch says of its stream: attempt_id, role, rank, live.
        counts: logged and dropped, as they are now.
        set_aside: Called with a record that the service will never take, and why.
    """

    def __init__(
        self,
        store: Store,
        facts: Mapping[str, Any],
        *,
        counts: Callable[[], Mapping[str, Any]],
        set_aside: Callable[[Record, str], None],
    ) -> None:
        self.next_idx = store.first_idx
        self.rejected: dict[int, str] = {}
        self.stop_requested = False
        self._store = store
        self._facts = facts
        self._counts = counts
        self._set_aside = set_aside
        self.most_records = MOST_RECORDS
        self._sent: list[Record] = []
        self._refused: dict[int, str] = {}

    @property
    def has_more(self) -> bool:
        """Whether anything is held that is not acknowledged."""
        return self._store.until > self.next_idx

    def body(self) -> tuple[bytes, bool]:
        """The next batch, and whether it is packed with gzip; empty when there is nothing: a sign of life."""
        held = self._store.read(self.next_idx, most_records=self.most_records, most_bytes=MOST_BYTES)
        self._sent = [record for record in held if record.idx not in self._refused]
        document = batch_document(
            self._sent,
            first=self.next_idx,
            facts={**self._facts, **self._counts()},
            missing=self._why_missing(),
        )
        # What is held no more although it was written was lost at the very end.
        until = largest(held) if held else max(self._store.until, self.next_idx)
        if until > self.next_idx + document["count"]:
            first = self.next_idx + document["count"]
            reason = self._refused.get(until - 1) or self._why_missing()
            document["other"].append({"idx": first, "until": until, "type": "gap", "reason": reason})
            document["count"] = until - self.next_idx
        body = encoded(document)
        if len(body) < _PACKED_FROM:
            return body, False
        return gzip.compress(body, compresslevel=1), True

    def take(self, answer: Answer) -> Next:
        """Go by the answer to the last batch."""
        document = answer.document or {}
        status = answer.status
        if status == 409 and isinstance(document.get("expected"), int):
            # Forward or back: what is not held any more shows as a gap by itself.
            self.next_idx = int(document["expected"])
            return Next.GO_ON
        if document.get("field") in ("attempt_id", "role", "rank", "body"):
            # It is what the batch says of its stream that the service does not take.
            return Next.PARK
        if status in (400, 413, 422) and (document or status == 413):
            return self._halve(answer)
        result = fate(answer, RECORDS)
        if result is Fate.PARKED:
            return Next.PARK
        if result is not Fate.ACCEPTED or not isinstance(document.get("next_idx"), int):
            return Next.RETRY
        self.rejected.update(
            {
                int(each["idx"]): str(each.get("code"))
                for each in document.get("rejected", ())
                if isinstance(each, dict) and isinstance(each.get("idx"), int)
            }
        )
        self.next_idx = max(self.next_idx, int(document["next_idx"]))
        self.stop_requested = self.stop_requested or document.get("stop") is True
        self._store.acknowledge(self.next_idx)
        self._refused = {idx: why for idx, why in self._refused.items() if idx >= self.next_idx}
        self.most_records = min(MOST_RECORDS, self.most_records * 2)
        return Next.GO_ON

    def _halve(self, answer: Answer) -> Next:
        """Look for the one record that cannot be taken, and put it aside."""
        if len(self._sent) > 1:
            self.most_records = max(1, min(self.most_records, len(self._sent)) // 2)
            return Next.GO_ON
        if not self._sent:
            # Not even an empty batch is understood; that is nothing about the data.
            return Next.PARK
        record = self._sent[0]
        why = "too_large" if answer.status == 413 else "refused"
        self._refused[record.idx] = why
        self._set_aside(record, answer.reason)
        return Next.GO_ON

    def _why_missing(self) -> str:
        for first, until, reason in self._store.lost:
            if first <= self.next_idx < until or (self._sent and self.next_idx <= first < self._sent[0].idx):
                return reason
        first_there = self._sent[0].idx if self._sent else self.next_idx
        reasons = [why for idx, why in self._refused.items() if self.next_idx <= idx < first_there]
        return reasons[0] if reasons else "damaged"
