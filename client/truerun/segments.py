"""One file of a stream's records: a head, then frames of records, each with its length and CRC-32.

It is only ever appended to and taken away as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from truerun.points import Decoder, Other, Point, framed, frames

_MAGIC = b"TRUERUN1"
_HEAD_BYTES = len(_MAGIC) + 24

Record = Point | Other


@dataclass(slots=True, eq=False)
class Segment:
    """One file, or what takes its place in memory while the disk takes nothing.

    Args:
        buffer: Everything in it, while it is being written or where there is no file.
        size: Bytes that are whole frames.
    """

    first_idx: int
    path: Path | None
    buffer: bytearray | None = None
    size: int = 0
    until: int = 0
    is_sealed: bool = False
    opened_at: float = 0.0
    _records: list[Record] = field(default_factory=list)
    _decoder: Decoder = field(default_factory=Decoder)
    _read_to: int = 0

    def records(self) -> list[Record]:
        """Everything that can be read, in order."""
        if self._read_to == 0:
            self._read_to = _HEAD_BYTES
        data = self.buffer
        if data is None:
            try:
                data = bytearray(self.path.read_bytes()) if self.path is not None else bytearray()
            except FileNotFoundError:
                # Somebody else has delivered it and taken it away.
                data = bytearray()
        if len(data) > self._read_to:
            found, self._read_to = self._decoder.decode(data, self._read_to)
            self._records.extend(found)
        return self._records

    def forget(self) -> None:
        """Free what was read; it is read again when needed."""
        self._records, self._decoder, self._read_to = [], Decoder(), 0


def head(stream_id: UUID, first_idx: int) -> bytes:
    return _MAGIC + stream_id.bytes + first_idx.to_bytes(8, "little")


def names_in(data: bytes) -> bytes:
    """The frames of a segment that tell names."""
    every = frames(data, _HEAD_BYTES)
    return b"".join(framed(payload) for payload, _ in every if payload[:1] == b"K")


def until_of(record: Record) -> int:
    """One past the last idx that the record stands for."""
    return record.until if isinstance(record, Other) else record.idx + 1


def is_image(record: Record) -> bool:
    return isinstance(record, Other) and record.document.get("type") == "image"


def travelling_bytes(record: Record) -> int:
    """About how long it is in a batch."""
    if isinstance(record, Point):
        return 64 + 24 * len(record.numbers)
    data = record.document.get("data")
    return 512 + (len(data) if isinstance(data, str) else 0)
