"""A run's history: numbered records of a stream, as columns.

A *record* is one call of `log`, an event, a patch of the summary, the end, or a gap. A *block* is several records with
the same metrics. A *series* is one metric, in one group, stage, split and rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain.images import Image
from app.domain.liveness import Status
from app.domain.ttc import Selection

Wholes = NDArray[np.int64]
Numbers = NDArray[np.float64]

MOST_METRICS = 5_000
MOST_SERIES = 50_000
MOST_RECORDS = 10_000


class Series(NamedTuple):
    """What a row of numbers is about; a dimension that was not given is empty."""

    name: str
    group: str = ""
    stage: str = ""
    split: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Records with the same metrics.

    Args:
        idx: Shape (n,), ascending; which records of the stream.
        steps: Shape (n,).
        times: Shape (n,), seconds since 1970 by the writer's clock.
        series: One for each row of `values`.
        values: Shape (len(series), n); may hold NaN and ±∞.
    """

    idx: Wholes
    steps: Wholes
    times: Numbers
    series: tuple[Series, ...]
    values: Numbers

    def keep(self, which: NDArray[np.bool_]) -> Block:
        """The records where `which` is true."""
        return Block(
            idx=self.idx[which],
            steps=self.steps[which],
            times=self.times[which],
            series=self.series,
            values=self.values[:, which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, such as an alert the training raised itself."""

    idx: int
    time: float
    step: int | None
    kind: str
    level: str
    title: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One step of test-time compute, as `ttc.Selection` has it."""

    idx: int
    time: float
    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedImage:
    """An image that the training, or who evaluates it, wants to be seen.

    Args:
        name: What it shows; images of one name are the same thing at several steps.
        step: None where it belongs to none.
    """

    idx: int
    time: float
    step: int | None
    name: str
    caption: str
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Members of the run's summary; None removes one."""

    idx: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How the training ended, as it says itself."""

    idx: int
    time: float
    status: Status
    error: str | None
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Records [idx, until) will never come."""

    idx: int
    until: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A slice of a stream: every record of [first, until) is in exactly one of its parts.

    Args:
        rejected: Records that cannot be stored, with the code that says why.
        logged: How many records the writer has numbered so far; dropped: what it dropped before, by reason.
        is_live: Whether the training itself sends it, not somebody who found it on a disk.
    """

    first: int
    until: int
    blocks: tuple[Block, ...] = ()
    events: tuple[Event, ...] = ()
    choices: tuple[Choice, ...] = ()
    images: tuple[LoggedImage, ...] = ()
    patches: tuple[Patch, ...] = ()
    finish: Finish | None = None
    gaps: tuple[Gap, ...] = ()
    rejected: Mapping[int, str] = field(default_factory=dict)
    logged: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    is_live: bool = True

    @property
    def needs_run(self) -> bool:
        """Whether it changes the run, or has to be counted with what other streams bring at the same time."""
        return bool(self.patches or self.images) or self.finish is not None

    def since(self, idx: int) -> Batch:
        """Without the records before idx, which are settled already."""
        if idx <= self.first:
            return self
        blocks = []
        for block in self.blocks:
            which = block.idx >= idx
            if which.any():
                blocks.append(block if which.all() else block.keep(which))
        return Batch(
            first=min(idx, self.until),
            until=self.until,
            blocks=tuple(blocks),
            events=tuple(event for event in self.events if event.idx >= idx),
            choices=tuple(choice for choice in self.choices if choice.idx >= idx),
            images=tuple(image for image in self.images if image.idx >= idx),
            patches=tuple(patch for patch in self.patches if patch.idx >= idx),
            finish=self.finish if self.finish is not None and self.finish.idx >= idx else None,
            gaps=tuple(
                Gap(idx=max(gap.idx, idx), until=gap.until, reason=gap.reason)
                for gap in self.gaps
                if gap.until > idx
            ),
            rejected={each: code for each, code in self.rejected.items() if each >= idx},
            logged=self.logged,
            dropped=self.dropped,
            is_live=self.is_live,
        )

    @property
    def lost(self) -> int:
        """How many records the gaps cover."""
        return sum(gap.until - gap.idx for gap in self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is known of a series without looking through it; first and last by step, the later record of a tie.

    Args:
        min_step, min_value, max_step, max_value: Of finite values; None where there is none.
    """

    count: int
    non_finite: int
    first_step: int
    first_value: float
    last_step: int
    last_value: float
    min_step: int | None
    min_value: float | None
    max_step: int | None
    max_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """Summaries of several series over the same records, as columns; each of shape (number of series,).

    Args:
        min_value, max_value: NaN where no value is finite; their steps mean nothing there.
    """

    count: int
    first_step: int
    last_step: int
    non_finite: Wholes
    first_value: Numbers
    last_value: Numbers
    min_step: Wholes
    min_value: Numbers
    max_step: Wholes
    max_value: Numbers


def summarise(steps: Wholes, values: Numbers) -> Summaries:
    """Look through some points.

    Args:
        steps: Shape (n,), n ≥ 1.
        values: Shape (m, n).
    """
    # The last of equal steps is the later record; the first of equal first steps too, so that both agree for n = 1.
    first = int(np.flatnonzero(steps == steps.min())[-1])
    last = int(np.flatnonzero(steps == steps.max())[-1])
    finite = np.isfinite(values)
    if finite.all():
        lowest, highest = values.argmin(axis=1), values.argmax(axis=1)
        non_finite = np.zeros(len(values), dtype=np.int64)
        rows = np.arange(len(values))
        low, high = values[rows, lowest], values[rows, highest]
    else:
        non_finite = (~finite).sum(axis=1).astype(np.int64)
        lowest = np.where(finite, values, np.inf).argmin(axis=1)
        highest = np.where(finite, values, -np.inf).argmax(axis=1)
        rows = np.arange(len(values))
        has_any = finite.any(axis=1)
        low = np.where(has_any, values[rows, lowest], np.nan)
        high = np.where(has_any, values[rows, highest], np.nan)
    return Summaries(
        count=len(steps),
        first_step=int(steps[first]),
        last_step=int(steps[last]),
        non_finite=non_finite,
        first_value=values[:, first],
        last_value=values[:, last],
        min_step=steps[lowest],
        min_value=low,
        max_step=steps[highest],
        max_value=high,
    )


def folded(parts: Sequence[Summary]) -> Summary:
    """One summary of a run's attempts, each already cut where the next took over; oldest first, at least one.

    First comes from the oldest, last from the newest; extremes from where they are, the earlier attempt of a tie.
    """
    lowest = min(
        (part for part in parts if part.min_value is not None),
        key=lambda part: part.min_value or 0.0,
        default=None,
    )
    highest = max(
        (part for part in parts if part.max_value is not None),
        key=lambda part: part.max_value or 0.0,
        default=None,
    )
    return Summary(
        count=sum(part.count for part in parts),
        non_finite=sum(part.non_finite for part in parts),
        first_step=parts[0].first_step,
        first_value=parts[0].first_value,
        last_step=parts[-1].last_step,
        last_value=parts[-1].last_value,
        min_step=None if lowest is None else lowest.min_step,
        min_value=None if lowest is None else lowest.min_value,
        max_step=None if highest is None else highest.max_step,
        max_value=None if highest is None else highest.max_value,
    )


def cuts(attempts: Sequence[tuple[int, int | None]]) -> dict[int, int | None]:
    """Up to which step each attempt counts: the smallest step at which a later one began; None without end.

    Args:
        attempts: (number, the step at which it began: resume_step, else the first it logged), by number.
    """
    found: dict[int, int | None] = {}
    cut: int | None = None
    for number, began in reversed(attempts):
        found[number] = cut
        if began is not None:
            cut = began if cut is None else min(cut, began)
    return found
