"""Records of a run's history, as the client keeps them in memory and on disk, and as they travel."""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from truerun import wire

FRAME = struct.Struct("<II")
_POINT = struct.Struct("<cqqdH")
_OTHER = struct.Struct("<cq")
_KEYS = struct.Struct("<cH")
_LARGEST_FRAME = 16 * 2**20


class Keys(NamedTuple):
    """What the numbers of a record are called.

    Args:
        names: (group, metric) of each number; the empty group is the whole.
    """

    stage: str
    split: str
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One call of `log`; numbers in the order of `keys.names`."""

    idx: int
    step: int
    time: float
    keys: Keys
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """An event, a summary patch, the end, or a gap, as it travels but for its idx."""

    idx: int
    document: Mapping[str, Any]

    @property
    def until(self) -> int:
        """One past the last record that this stands for."""
        until = self.document.get("until")
        return until if self.document.get("type") == "gap" and isinstance(until, int) else self.idx + 1


class Encoder:
    """Writes records one after the other; a set of names is written out once, before its first use."""

    def __init__(self) -> None:
        self._known: dict[Keys, tuple[int, struct.Struct]] = {}
        # The same object call after call; looking it up would hash every name.
        self._last: tuple[Keys | None, int, struct.Struct] = (None, 0, _POINT)

    def encode(self, record: Point | Other) -> bytes:
        """The record's frames.

        Raises:
            OverflowError: A number does not fit into a double, a step not into 64 bits.
        """
        if isinstance(record, Other):
            return framed(_OTHER.pack(b"J", record.idx) + wire.encode(record.document))
        keys, number, layout = self._last
        prefix = b""
        if keys is not record.keys:
            prefix, number, layout = self._introduced(record.keys)
        try:
            body = layout.pack(b"P", record.idx, record.step, record.time, number, *record.numbers)
        except struct.error as error:
            raise OverflowError(str(error)) from None
        if prefix:
            self._known[record.keys] = (number, layout)
        self._last = (record.keys, number, layout)
        return prefix + framed(body)

    def _introduced(self, keys: Keys) -> tuple[bytes, int, struct.Struct]:
        """The frame that tells the names where they are new, their number, and how a record of them is laid out."""
        if known := self._known.get(keys):
            return b"", *known
        number = len(self._known)
        if number == 2**16:
            raise OverflowError("more than 65,536 sets of names in one segment")
        content = json.dumps([keys.stage, keys.split, keys.names])
        layout = struct.Struct(f"{_POINT.format}{len(keys.names)}d")
        return framed(_KEYS.pack(b"K", number) + content.encode()), number, layout


def framed(payload: bytes) -> bytes:
    return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class Decoder:
    """Reads frames back; what is damaged is passed over and shows as records that are missing."""

    def __init__(self) -> None:
        self._known: dict[int, Keys] = {}
        self._last = -1

    def decode(self, data: bytes | bytearray, offset: int) -> tuple[list[Point | Other], int]:
        """The records from `offset` on, and where the next frame will begin."""
        found: list[Point | Other] = []
        end = offset
        for payload, following in frames(data, offset):
            end = following
            record = self._read(payload)
            if record is not None and record.idx > self._last:
                self._last = record.until - 1 if isinstance(record, Other) else record.idx
                found.append(record)
        return found, end

    def _read(self, payload: bytes) -> Point | Other | None:
        kind = payload[:1]
        try:
            if kind == b"P":
                _, idx, step, time, number = _POINT.unpack_from(payload)
                keys = self._known.get(number)
                count = (len(payload) - _POINT.size) // 8
                if keys is None or count != len(keys.names):
                    return None
                return Point(idx, step, time, keys, struct.unpack_from(f"<{count}d", payload, _POINT.size))
            if kind == b"J":
                _, idx = _OTHER.unpack_from(payload)
                document = json.loads(payload[_OTHER.size :])
                return Other(idx, document) if isinstance(document, dict) else None
            if kind == b"K":
                _, number = _KEYS.unpack_from(payload)
                stage, split, names = json.loads(payload[_KEYS.size :])
                self._known[number] = Keys(stage, split, tuple((group, name) for group, name in names))
        except (struct.error, ValueError, TypeError):
            return None
        return None


def frames(data: bytes | bytearray, offset: int) -> Iterator[tuple[bytes, int]]:
    """(payload, end) of each whole frame; after damage the next place that fits is looked for."""
    end = len(data)
    at = offset
    while at + FRAME.size <= end:
        payload = _frame_at(data, at)
        if payload is not None:
            at += FRAME.size + len(payload)
            yield payload, at
            continue
        following = _next_frame(data, at + 1)
        if following is None:
            return
        at = following


def _frame_at(data: bytes | bytearray, at: int) -> bytes | None:
    length, crc = FRAME.unpack_from(data, at)
    first = at + FRAME.size
    if not 1 <= length <= _LARGEST_FRAME or first + length > len(data) or data[first] not in b"PJK":
        return None
    payload = bytes(data[first : first + length])
    return payload if zlib.crc32(payload) == crc else None


def _next_frame(data: bytes | bytearray, at: int) -> int | None:
    for start in range(at, len(data) - FRAME.size):
        # The kind of a frame follows its head; looking at that one byte first passes over nearly all places.
        if data[start + FRAME.size] in b"PJK" and _frame_at(data, start) is not None:
            return start
    return None


def batch_document(
    records: Sequence[Point | Other], *, first: int, facts: Mapping[str, Any], missing: str
) -> dict[str, Any]:
    """A batch as it travels: every record from `first` to the last one's end, what is not there as a gap.

    Args:
        records: In the order of their idx, none below `first`.
        facts: What else to say: attempt_id, role, rank, logged, dropped, live.
        missing: Why records are not there, where nothing else is known.
    """
    blocks: dict[Keys, list[Point]] = {}
    other: list[dict[str, Any]] = []
    expected = first
    for record in records:
        if record.idx > expected:
            other.append({"idx": expected, "until": record.idx, "type": "gap", "reason": missing})
        if isinstance(record, Point):
            blocks.setdefault(record.keys, []).append(record)
            expected = record.idx + 1
        else:
            other.append({"idx": record.idx, **record.document})
            expected = record.until
    return {
        **facts,
        "first": first,
        "count": expected - first,
        "blocks": [_block(keys, points) for keys, points in blocks.items()],
        "other": other,
    }


def _block(keys: Keys, points: Sequence[Point]) -> dict[str, Any]:
    columns = list(zip(*(point.numbers for point in points), strict=True))
    block: dict[str, Any] = {
        **{name: text for name, text in (("stage", keys.stage), ("split", keys.split)) if text},
        "idx": _spaced([point.idx for point in points]),
        "steps": _spaced([point.step for point in points]),
        "times": [point.time for point in points],
    }
    metrics: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for (group, name), column in zip(keys.names, columns, strict=True):
        (groups.setdefault(group, {}) if group else metrics)[name] = column
    if metrics:
        block["metrics"] = metrics
    if groups:
        block["groups"] = groups
    return block


def _spaced(numbers: list[int]) -> dict[str, int] | list[int]:
    """Evenly spaced numbers as start and stride."""
    stride = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    if all(b - a == stride for a, b in itertools.pairwise(numbers)):
        return {"start": numbers[0], "stride": stride}
    return numbers


def encoded(document: Mapping[str, Any]) -> bytes:
    """The batch as JSON."""
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        # Somewhere in it is a number that is not finite.
        return wire.encode(document)


def largest(records: Iterable[Point | Other]) -> int:
    """One past the last record."""
    return max(
        (record.until if isinstance(record, Other) else record.idx + 1 for record in records), default=0
    )
