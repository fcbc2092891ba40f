"""A past run's rows as the records that are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from truerun.importing.past import PastRun, Restart, Row
from truerun.importing.report import Outcome
from truerun.points import Keys, Point
from truerun.readings import LONGEST_NAME

MOST_METRICS = 5_000


class Numbered:
    """A run's rows as numbered records, attempt by attempt; what they hold is remembered on the way."""

    def __init__(self, past: PastRun) -> None:
        self._tally = past.tally
        self._rows = past.rows(past.tally)
        self._keys: dict[tuple[str, ...], Keys] = {}
        self._restart: Restart | None = None
        self._is_over = False
        self.names: set[str] = set()
        self.resume_step = 0
        self.last_time: float | None = None

    def attempts(self) -> Iterator[Iterator[Point]]:
        """The rows of each attempt; each is read to its end before the next is asked for."""
        while not self._is_over:
            yield self._attempt()

    def count(self, outcome: Outcome) -> None:
        """What would be sent."""
        for attempt in self.attempts():
            for point in attempt:
                outcome.records += 1
                outcome.points += len(point.numbers)
        outcome.metrics = len(self.names)

    def _attempt(self) -> Iterator[Point]:
        idx = 0
        for row in self._rows:
            if isinstance(row, Restart):
                self.resume_step = row.step
                return
            values = self._usable(row)
            if values is None:
                continue
            self.last_time = row.time if self.last_time is None else max(self.last_time, row.time)
            # In one order, so that rows with the same metrics travel as one block.
            names = tuple(sorted(values))
            keys = self._keys.get(names)
            if keys is None:
                keys = Keys("", "", tuple(("", name) for name in names))
                self._keys[names] = keys
            yield Point(idx, row.step, row.time, keys, tuple(values[name] for name in names))
            idx += 1
        self._is_over = True

    def _usable(self, row: Row) -> Mapping[str, float] | None:
        if not (-(2**63) <= row.step < 2**63 and math.isfinite(row.time)):
            self._tally.leave("bad_step", len(row.values))
            return None
        if row.values.keys() <= self.names:
            return row.values or None
        kept = {name: value for name, value in row.values.items() if self._takes(name)}
        return kept or None

    def _takes(self, name: str) -> bool:
        if name in self.names:
            return True
        reason = None
        if len(name) > LONGEST_NAME:
            reason = "name_too_long"
        elif not name or not name.isprintable():
            reason = "bad_name"
        elif len(self.names) >= MOST_METRICS:
            reason = "too_many_metrics"
        if reason is not None:
            self._tally.leave(reason)
            return False
        self.names.add(name)
        return True
