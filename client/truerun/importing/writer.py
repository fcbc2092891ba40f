"""Sending past runs over the ordinary protocol: twice sent is stored once, cut off goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote
from uuid import UUID

from truerun.answers import Answer, Fate
from truerun.configuration import as_json, as_line, as_notes
from truerun.courier import Courier
from truerun.importing.delivery import Refusal, Tries, deliver
from truerun.importing.numbered import Numbered
from truerun.importing.past import PastRun, Unavailable
from truerun.importing.report import Outcome
from truerun.points import Other, Point
from truerun.record import MOST_TAGS, RunRecord
from truerun.segments import Record
from truerun.transport import Transport

# Of one batch; keeps what waits in memory far below what a store holds without a disk.
MOST_NUMBERS = 100_000
MOST_RECORDS = 5_000
_IMPORTED = "imported"


class Importer:
    """Brings past runs into one project, one after the other.

    Args:
        pause: Waits so many seconds before the next try; tests hand in one that does not wait.
        run_group, tags: Given to every run that is new, beside its own.
        wants_unfinished: Whether to bring runs that may still be training; they are marked as preempted.
    """

    def __init__(
        self,
        transport: Transport,
        project: str,
        *,
        pause: Callable[[float], None] = time.sleep,
        run_group: str | None = None,
        tags: Iterable[str] = (),
        wants_unfinished: bool = False,
        is_dry: bool = False,
    ) -> None:
        self._transport = transport
        self._project = project
        self._tries = Tries(pause)
        self._run_group = run_group
        self._tags = tuple(tags)
        self._wants_unfinished = wants_unfinished
        self._is_dry = is_dry

    def bring(self, past: PastRun) -> Outcome:
        """Send whatever of the run is not here yet.

        Raises:
            Unavailable: The source or the service does not answer.
        """
        outcome = Outcome(key=past.key, name=past.name, state="new", tally=past.tally)
        if past.status is None and not self._wants_unfinished:
            outcome.state = "unfinished"
            past.tally.leave("unfinished")
            return outcome
        if self._is_dry:
            outcome.state = "would bring"
            Numbered(past).count(outcome)
            return outcome
        try:
            self._bring(past, outcome)
        except Refusal as refusal:
            outcome.state, outcome.reason = "refused", str(refusal)
        return outcome

    def _bring(self, past: PastRun, outcome: Outcome) -> None:
        found = self._found(past)
        record = RunRecord(
            project=self._project,
            run_key=past.key,
            attempt_id=str(past.uuid("attempt", 1)),
            role="train",
            url=self._transport.url,
            mode="online",
            # What people have made of a run since is theirs.
            details=self._details(past) if found is None else {},
        )
        held: dict[UUID, int] = {}
        if found is not None:
            outcome.run_id = str(found["run_id"])
            held = self._held(outcome.run_id)
            outcome.state = "continued" if held else "new"
        passage = _Passage(Courier(self._transport, record), past, held, outcome, self._tries)
        if passage.is_over:
            outcome.state = "known"
        else:
            passage.send()

    def _found(self, past: PastRun) -> dict[str, Any] | None:
        path = f"/projects/{quote(self._project, safe='')}/runs"
        query = {"key": past.key, "archived": "all", "limit": 1}
        answer = self._tries.asked(lambda: self._transport.send("GET", path, query=query))
        if answer.status == 404:
            # An administrator's first run makes the project.
            return None
        items = (answer.document or {}).get("items")
        if answer.status != 200 or not isinstance(items, list):
            raise Unavailable(answer.reason)
        if not items:
            return None
        found: dict[str, Any] = items[0]
        known = (found.get("environment") or {}).get(_IMPORTED)
        if not isinstance(known, dict) or known.get("from") != list(past.identity):
            raise Refusal(f"a run that was not imported from there has the key {past.key}")
        if found.get("archived_at"):
            raise Refusal("it was imported before and is archived")
        return found

    def _held(self, run_id: str) -> dict[UUID, int]:
        """Up to which record each stream of the run is settled."""
        answer = self._tries.asked(lambda: self._transport.send("GET", f"/runs/{run_id}/streams"))
        items = (answer.document or {}).get("items")
        if answer.status != 200 or not isinstance(items, list):
            raise Unavailable(answer.reason)
        return {UUID(item["stream_id"]): int(item["logged"]) - int(item["in_flight"]) for item in items}

    def _details(self, past: PastRun) -> dict[str, Any]:
        tags = [tag for tag in map(as_line, [*past.tags, *self._tags]) if tag]
        if len(tags) > MOST_TAGS:
            past.tally.leave("too_many_tags", len(tags) - MOST_TAGS)
        seed = past.config.get("seed")
        imported = {
            "from": list(past.identity),
            "started_at": _moment(past.started_at),
            "ended_at": _moment(past.ended_at),
            **past.about,
        }
        return {
            "name": as_line(past.name) or past.key,
            "config": as_json(dict(past.config)),
            "tags": tags[:MOST_TAGS],
            "notes": as_notes(past.notes) or None,
            "run_group": as_line(self._run_group or past.run_group),
            "git_commit": as_line(past.git_commit),
            "seed": seed if type(seed) is int and -(2**63) <= seed < 2**63 else None,
            "environment": {_IMPORTED: as_json({k: v for k, v in imported.items() if v is not None})},
        }


class _Passage:
    """One run on its way.

    Args:
        held: Up to which record each stream of the run is settled already.
    """

    def __init__(
        self, courier: Courier, past: PastRun, held: Mapping[UUID, int], outcome: Outcome, tries: Tries
    ) -> None:
        self._courier = courier
        self._past = past
        self._held = held
        self._outcome = outcome
        self._tries = tries
        self._end_id = past.uuid("end", past.stamp)

    @property
    def is_over(self) -> bool:
        """Whether its end is here, which is sent last."""
        return self._held.get(self._end_id, 0) >= len(self._end(0.0))

    def send(self) -> None:
        numbered = Numbered(self._past)
        self._introduce()
        for number, rows in enumerate(numbered.attempts(), 1):
            if number > 1:
                self._restart(number, numbered)
            self._send_rows(self._past.uuid("points", number), rows)
        times = (self._past.ended_at, numbered.last_time, self._past.started_at)
        ended_at = next((each for each in times if each is not None), time.time())
        self._send(self._end_id, self._end(ended_at))
        self._outcome.metrics = len(numbered.names)

    def _introduce(self) -> None:
        def tried() -> Answer:
            fate, answer = self._courier.introduce()
            return answer if fate is not Fate.RETRY else Answer(trouble=answer.reason)

        answer = self._tries.asked(tried)
        if not self._courier.is_introduced:
            if answer.status in (401, 404):
                raise Unavailable(answer.reason)
            raise Refusal(answer.reason)
        self._outcome.run_id = self._courier.run_id

    def _restart(self, number: int, numbered: Numbered) -> None:
        # What was started again had ended, however that came.
        ended_at = numbered.last_time if numbered.last_time is not None else time.time()
        self._send(self._past.uuid("cut", number - 1), [Other(0, _finish("preempted", ended_at))])
        self._courier.record.attempt_id = str(self._past.uuid("attempt", number))
        self._courier.record.details = {"resume_step": numbered.resume_step}
        self._courier.record.change()
        self._introduce()

    def _send_rows(self, stream: UUID, rows: Iterator[Point]) -> None:
        batch: list[Record] = []
        numbers = 0
        for point in rows:
            if point.idx < self._held.get(stream, 0):
                continue
            batch.append(point)
            numbers += len(point.numbers)
            if numbers >= MOST_NUMBERS or len(batch) >= MOST_RECORDS:
                self._send(stream, batch)
                batch, numbers = [], 0
        self._send(stream, batch)

    def _end(self, ended_at: float) -> list[Record]:
        """The stream of its own that the end is: a run that has grown since ends anew."""
        finish = _finish(self._past.status or "preempted", ended_at)
        if self._past.status is None:
            finish["error"] = "it may still have been training when it was imported"
        return [
            Other(0, {"type": "summary", "values": as_json(dict(self._past.summary))}),
            Other(1, finish),
        ]

    def _send(self, stream: UUID, records: list[Record]) -> None:
        fresh = [record for record in records if record.idx >= self._held.get(stream, 0)]
        if fresh:
            sent = deliver(self._courier, stream, fresh, self._past.tally, self._tries)
            self._outcome.records += sent.records
            self._outcome.points += sent.points


def _finish(status: str, ended_at: float) -> dict[str, Any]:
    return {"type": "finish", "time": ended_at, "status": status}


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
