"""Reading a batch as it travels: what cannot be meant is refused as a whole, a bad record is rejected by itself."""

from __future__ import annotations

import base64
import binascii
import itertools
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from app.domain.alerts import Level
from app.domain.history import (
    MOST_RECORDS,
    Batch,
    Block,
    Choice,
    Event,
    Finish,
    Gap,
    LoggedImage,
    Numbers,
    Patch,
    Series,
    Wholes,
)
from app.domain.images import LONGEST_CAPTION, BadImage, image_of
from app.domain.liveness import Status
from app.domain.names import MAX_NAME_LENGTH, name_problem
from app.domain.ttc import MOST_CANDIDATES, Selection
from app.errors import InvalidInput

_INT64 = range(-(2**63), 2**63)
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LONGEST_TEXT = 65_536
_MOST_RANK = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Regular:
    """The whole numbers start, start + stride, …"""

    start: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDocument:
    """A block as it travels; a non-finite number is the word NaN, Infinity or -Infinity."""

    times: list[float]
    steps: Regular | list[int]
    idx: Regular | list[int] | None = None
    stage: str = ""
    split: str = ""
    metrics: dict[str, list[float | str]] = field(default_factory=dict)
    groups: dict[str, dict[str, list[float | str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDocument:
    """The body of `POST …/records`."""

    first: int
    count: int
    attempt_id: str | None = None
    role: str = "train"
    rank: int = 0
    blocks: list[BlockDocument] = field(default_factory=list)
    other: list[dict[str, Any]] = field(default_factory=list)
    logged: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    live: bool = True


def read_batch(document: BatchDocument) -> Batch:
    """The batch, with the records that cannot be stored left out and named.

    Raises:
        InvalidInput: Its parts do not fit together, or do not cover [first, first + count).
    """
    if not 0 <= document.first < 2**62:
        raise InvalidInput("must be a whole number ≥ 0", field="first")
    if not 0 <= document.count <= 2**62:
        raise InvalidInput("must be a whole number ≥ 0", field="count")
    if not 0 <= document.rank < _MOST_RANK:
        raise InvalidInput("must be a whole number ≥ 0", field="rank")
    until = document.first + document.count
    rejected: dict[int, str] = {}
    blocks = []
    following = document.first
    for i, block in enumerate(document.blocks):
        read, following = _read_block(block, f"blocks.{i}", document.rank, following, rejected)
        blocks.append(read)
    _check_lengths(blocks)
    others = [_read_other(other, f"other.{i}", rejected) for i, other in enumerate(document.other)]
    gaps = tuple(each for each in others if isinstance(each, Gap))
    singles = [each for each in others if not isinstance(each, Gap)]
    _check_cover(document.first, until, blocks, [idx for idx, _ in singles], gaps)
    kept = [each for _, each in singles]
    finishes = [each for each in kept if isinstance(each, Finish)]
    return Batch(
        first=document.first,
        until=until,
        blocks=tuple(kept_block for block in blocks for kept_block in _without(block, rejected)),
        events=tuple(each for each in kept if isinstance(each, Event)),
        choices=tuple(each for each in kept if isinstance(each, Choice)),
        images=tuple(each for each in kept if isinstance(each, LoggedImage)),
        patches=tuple(each for each in kept if isinstance(each, Patch)),
        # A stream ends once; what ends it again says how it really ended.
        finish=finishes[-1] if finishes else None,
        gaps=gaps,
        rejected=rejected,
        logged=max(0, min(document.logged, 2**62)),
        dropped={
            name[:MAX_NAME_LENGTH]: count
            for name, count in document.dropped.items()
            if name.isprintable() and count in _INT64
        },
        is_live=document.live,
    )


def _read_block(
    block: BlockDocument, place: str, rank: int, following: int, rejected: dict[int, str]
) -> tuple[Block, int]:
    count = len(block.times)
    if count == 0:
        raise InvalidInput("a block has at least one record", field=f"{place}.times")
    idx = _wholes(block.idx, count, f"{place}.idx", first=following)
    if count > 1 and not (np.diff(idx) > 0).all():
        raise InvalidInput("must ascend", field=f"{place}.idx")
    steps, bad_steps = _steps(block.steps, count, f"{place}.steps")
    times = np.frombuffer(array("d", block.times), dtype=np.float64)
    series, columns = [], []
    for group, name, values in _columns(block):
        if len(values) != count:
            raise InvalidInput(
                f"{len(values)} values for {count} records", field=f"{place}.metrics.{name[:80]}"
            )
        series.append(Series(name, group, block.stage, block.split, rank))
        columns.append(values)
    if not series:
        raise InvalidInput("a block has at least one metric", field=f"{place}.metrics")
    matrix, bad_values = _matrix(columns, count)
    code = _names_code(series)
    if code is not None:
        rejected.update(dict.fromkeys(idx.tolist(), code))
    for bad, why in ((bad_steps, "bad_step"), (bad_values, "bad_value"), (~np.isfinite(times), "bad_time")):
        if bad.any():
            rejected.update({int(each): why for each in idx[bad] if int(each) not in rejected})
    return Block(idx=idx, steps=steps, times=times, series=tuple(series), values=matrix), int(idx[-1]) + 1


def _columns(block: BlockDocument) -> Iterator[tuple[str, str, list[float | str]]]:
    for name, values in block.metrics.items():
        yield "", name, values
    for group, metrics in block.groups.items():
        for name, values in metrics.items():
            # An empty group would be the whole, which `metrics` is for.
            yield group or "\0", name, values


def _names_code(series: Sequence[Series]) -> str | None:
    for each in series:
        for text in (each.name, each.group, each.stage, each.split):
            if len(text) > MAX_NAME_LENGTH:
                return "name_too_long"
            if text and not text.isprintable():
                return "bad_name"
        if name_problem(each.name) is not None:
            return "bad_name"
    return None


def _matrix(columns: Sequence[list[float | str]], count: int) -> tuple[Numbers, np.ndarray[Any, Any]]:
    """(values, which records hold something that is no number)."""
    matrix = np.empty((len(columns), count), dtype=np.float64)
    bad = np.zeros(count, dtype=bool)
    for row, column in zip(matrix, columns, strict=True):
        try:
            # From an array rather than the list: that is several times as fast, and refuses text.
            row[:] = array("d", cast("list[float]", column))
        except TypeError:
            for i, value in enumerate(column):
                number = _WORDS.get(value) if isinstance(value, str) else value
                bad[i] |= number is None
                row[i] = math.nan if number is None else number
    return matrix, bad


def _wholes(given: Regular | list[int] | None, count: int, place: str, *, first: int) -> Wholes:
    if given is None:
        return np.arange(first, first + count, dtype=np.int64)
    if isinstance(given, Regular):
        last = given.start + given.stride * (count - 1)
        if given.start not in _INT64 or last not in _INT64:
            raise InvalidInput("must be whole numbers of 64 bits", field=place)
        return given.start + given.stride * np.arange(count, dtype=np.int64)
    if len(given) != count:
        raise InvalidInput(f"{len(given)} numbers for {count} records", field=place)
    if not all(number in _INT64 for number in given):
        raise InvalidInput("must be whole numbers of 64 bits", field=place)
    return np.array(given, dtype=np.int64)


def _steps(given: Regular | list[int], count: int, place: str) -> tuple[Wholes, np.ndarray[Any, Any]]:
    """(steps, which are beyond 64 bits)."""
    bad = np.zeros(count, dtype=bool)
    if isinstance(given, list) and len(given) == count:
        try:
            return np.frombuffer(array("q", given), dtype=np.int64), bad
        except OverflowError:
            bad = np.array([step not in _INT64 for step in given])
            return np.array([0 if step not in _INT64 else step for step in given], dtype=np.int64), bad
    if isinstance(given, Regular):
        last = given.start + given.stride * (count - 1)
        if given.start not in _INT64 or last not in _INT64:
            return np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
    return _wholes(given, count, place, first=0), bad


def _read_other(
    document: Mapping[str, Any], place: str, rejected: dict[int, str]
) -> Gap | tuple[int, Event | Choice | LoggedImage | Patch | Finish | None]:
    idx = document.get("idx")
    if not isinstance(idx, int) or isinstance(idx, bool) or not 0 <= idx < 2**62:
        raise InvalidInput("must be a whole number ≥ 0", field=f"{place}.idx")
    kind = document.get("type")
    if kind == "gap":
        until = document.get("until")
        if not isinstance(until, int) or isinstance(until, bool) or not idx < until < 2**62:
            raise InvalidInput("must be a whole number above idx", field=f"{place}.until")
        return Gap(idx=idx, until=until, reason=_line(document.get("reason")) or "unknown")
    try:
        read = _READERS[kind](idx, document) if kind in _READERS else None
    except BadImage as error:
        rejected[idx] = error.code
        return idx, None
    if read is None:
        rejected[idx] = "bad_record"
    return idx, read


def _read_event(idx: int, document: Mapping[str, Any]) -> Event | None:
    step, level, detail = document.get("step"), document.get("level", "info"), document.get("detail") or {}
    title, kind, time = _line(document.get("title")), _line(document.get("kind")), _time(document)
    if not kind or time is None or level not in list(Level) or not isinstance(detail, Mapping):
        return None
    if step is not None and (not isinstance(step, int) or step not in _INT64):
        return None
    return Event(idx=idx, time=time, step=step, kind=kind, level=level, title=title, detail=detail)


def _read_choice(idx: int, document: Mapping[str, Any]) -> Choice | None:
    step, given, chosen, time = (
        document.get("step"),
        document.get("rewards"),
        document.get("chosen"),
        _time(document),
    )
    if not isinstance(step, int) or step not in _INT64 or time is None or not isinstance(given, list):
        return None
    rewards = [_WORDS.get(reward) if isinstance(reward, str) else reward for reward in given]
    if not isinstance(chosen, int) or not 0 <= chosen < len(rewards) <= MOST_CANDIDATES:
        return None
    if not all(isinstance(reward, int | float) for reward in rewards):
        return None
    try:
        numbers = tuple(float(cast("float", reward)) for reward in rewards)
    except OverflowError:
        return None
    return Choice(idx=idx, time=time, selection=Selection(step=step, rewards=numbers, chosen=chosen))


def _read_image(idx: int, document: Mapping[str, Any]) -> LoggedImage | None:
    step, name, time = document.get("step"), document.get("name"), _time(document)
    if time is None or name_problem(name) is not None:
        return None
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step not in _INT64):
        return None
    try:
        data = base64.b64decode(document.get("data") or "", validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    caption = _line(document.get("caption"))[:LONGEST_CAPTION]
    return LoggedImage(idx=idx, time=time, step=step, name=str(name), caption=caption, image=image_of(data))


def _read_patch(idx: int, document: Mapping[str, Any]) -> Patch | None:
    values = document.get("values")
    return Patch(idx=idx, values=values) if isinstance(values, Mapping) else None


def _read_finish(idx: int, document: Mapping[str, Any]) -> Finish | None:
    status, error, code, time = (
        document.get("status"),
        document.get("error"),
        document.get("exit_code"),
        _time(document),
    )
    if status not in (Status.FINISHED, Status.FAILED, Status.PREEMPTED) or time is None:
        return None
    if code is not None and (not isinstance(code, int) or not -(2**31) <= code < 2**31):
        return None
    said = error[:_LONGEST_TEXT].replace("\0", "") if isinstance(error, str) else None
    return Finish(idx=idx, time=time, status=Status(status), error=said, exit_code=code)


_READERS = {
    "event": _read_event,
    "ttc": _read_choice,
    "image": _read_image,
    "summary": _read_patch,
    "finish": _read_finish,
}


def _time(document: Mapping[str, Any]) -> float | None:
    time = document.get("time")
    # Years that a time stamp of Postgres and of Python can hold.
    if isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 2.5e11:
        return float(time)
    return None


def _line(text: object) -> str:
    """Text for people, on one line, as Postgres can hold it."""
    if not isinstance(text, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in text[:_LONGEST_TEXT]).strip()


def _check_lengths(blocks: Sequence[Block]) -> None:
    if sum(len(block.idx) for block in blocks) > MOST_RECORDS:
        raise InvalidInput(f"at most {MOST_RECORDS} records at once; send fewer", field="count")


def _check_cover(
    first: int, until: int, blocks: Sequence[Block], singles: Sequence[int], gaps: Sequence[Gap]
) -> None:
    """Every record of [first, until) is told of exactly once."""
    if len(blocks) == 1 and not singles and not gaps:
        idx = blocks[0].idx
        fits = idx[0] == first and idx[-1] == until - 1 and len(idx) == until - first
    else:
        every = np.sort(np.concatenate([np.array(singles, dtype=np.int64), *(block.idx for block in blocks)]))
        # Gaps may be as wide as they like, so they are never written out.
        edges = sorted((gap.idx, gap.until) for gap in gaps)
        covered = len(every) + sum(end - start for start, end in edges)
        apart = all(a[1] <= b[0] for a, b in itertools.pairwise(edges))
        inside = not len(every) or (every[0] >= first and every[-1] < until and (np.diff(every) > 0).all())
        free = all(
            np.searchsorted(every, start) == np.searchsorted(every, end) and start >= first and end <= until
            for start, end in edges
        )
        fits = bool(covered == until - first and apart and inside and free)
    if not fits:
        raise InvalidInput(
            f"blocks and other must tell of every record from {first} to {until - 1} exactly once",
            field="blocks",
        )


def _without(block: Block, rejected: Mapping[int, str]) -> list[Block]:
    if not rejected:
        return [block]
    which = np.array([idx not in rejected for idx in block.idx.tolist()])
    if which.all():
        return [block]
    return [block.keep(which)] if which.any() else []
