"""Event files of TensorBoard: records framed with masked CRC-32C, each an Event message.

Read are the few fields that a history needs; all other content is only told apart, so that it can be counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truerun.importing import protobuf

# Scalars lie in small records; the checksum of a video in plain Python would take minutes and say nothing of them.
MOST_CHECKED_BYTES = 2**20
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_SESSION_START = 1
_SCALAR_CLASS = 1
_FLOATS = {1: ("f", 4), 2: ("d", 8), 19: ("e", 2)}
_WHOLES = {3: ("i", 4), 4: ("B", 1), 5: ("h", 2), 6: ("b", 1), 9: ("q", 8), 22: ("I", 4), 23: ("Q", 8)}


class Damaged(Exception):
    """The file cannot be read on from here."""


@dataclass(slots=True, kw_only=True)
class Event:
    """What happened at one step.

    Args:
        restarts: Whether a session began here, so that what was logged from this step on does not count.
        others: How many other summaries it holds, by kind.
        hparams: Hyperparameters, where it brings some.
    """

    time: float = 0.0
    step: int = 0
    restarts: bool = False
    scalars: dict[str, float] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Value:
    """One tagged value of a summary.

    Args:
        kind: What it is, where its field says so.
        plugin, content, is_scalar: What its metadata say; a writer may say it with a tag's first value only.
    """

    tag: str = ""
    scalar: float | None = None
    tensor: bytes | None = None
    kind: str = ""
    plugin: str = ""
    content: bytes = b""
    is_scalar: bool = False


class EventFile:
    """One file; the plugins of its tags are remembered, since a writer may name them only once."""

    def __init__(self, path: Path, plugins: dict[str, str] | None = None) -> None:
        self.path = path
        self._plugins = {} if plugins is None else plugins

    def events(self) -> Iterator[Event]:
        """The events in the order in which they were written.

        Raises:
            Damaged: A record is cut off or its checksum is wrong; what came before is whole.
        """
        for payload in records(self.path):
            try:
                yield self._event(payload)
            except ValueError as error:
                raise Damaged(f"{self.path}: {error}") from None

    def _event(self, payload: bytes) -> Event:
        event = Event()
        for number, kind, value in protobuf.fields(payload):
            if number == 1 and kind == protobuf.FIXED64:
                event.time = protobuf.double(value)
            elif number == 2 and kind == protobuf.VARINT:
                event.step = protobuf.signed(value)
            elif number == 5:
                self._summary(protobuf.octets(value), event)
            elif number == 7:
                event.restarts = _status(protobuf.octets(value)) == _SESSION_START
            elif number in (4, 9):
                event.others["graph"] = event.others.get("graph", 0) + 1
        return event

    def _summary(self, data: bytes, event: Event) -> None:
        for number, _, value in protobuf.fields(data):
            if number == 1:
                self._value(protobuf.octets(value), event)

    def _value(self, data: bytes, event: Event) -> None:
        value = _summary_value(data)
        value.plugin = value.plugin or self._plugins.get(value.tag, "")
        if value.plugin:
            self._plugins[value.tag] = value.plugin
        scalar = value.scalar
        if (
            scalar is None
            and value.tensor is not None
            and (value.is_scalar or value.plugin in ("", "scalars"))
        ):
            scalar = _tensor_scalar(value.tensor)
        if value.plugin == "hparams":
            event.hparams.update(_hparams(value.content))
        elif scalar is not None:
            event.scalars[value.tag] = scalar
        else:
            kind = value.kind or {"text": "text", "histograms": "histogram"}.get(value.plugin, "media")
            event.others[kind] = event.others.get(kind, 0) + 1


def records(path: Path) -> Iterator[bytes]:
    """The payloads of a file of framed records.

    Raises:
        Damaged: A record is cut off, or a checksum is wrong.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from None
    with file:
        while head := file.read(12):
            if len(head) < 12:
                raise Damaged(f"{path} is cut off")
            (length, checksum) = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != checksum:
                raise Damaged(f"{path}: the checksum of a record's length is wrong")
            payload, tail = file.read(length), file.read(4)
            if len(payload) < length or len(tail) < 4:
                raise Damaged(f"{path} is cut off")
            if length <= MOST_CHECKED_BYTES and masked_crc32c(payload) != int.from_bytes(tail, "little"):
                raise Damaged(f"{path}: a record's checksum is wrong")
            yield payload


def masked_crc32c(data: bytes) -> int:
    """The checksum as it is kept: turned and shifted, so that a checksum of checksums does not cancel out.

    >>> hex(masked_crc32c(b"123456789"))
    '0xc78ab0e5'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def _status(session_log: bytes) -> int:
    return next((protobuf.signed(v) for number, _, v in protobuf.fields(session_log) if number == 1), 0)


def _summary_value(data: bytes) -> _Value:
    found = _Value()
    for number, kind, value in protobuf.fields(data):
        if number == 1:
            found.tag = protobuf.text(value)
        elif number == 2 and kind == protobuf.FIXED32:
            found.scalar = protobuf.single(value)
        elif number == 8:
            found.tensor = protobuf.octets(value)
        elif number == 9:
            found.plugin, found.content, found.is_scalar = _metadata(protobuf.octets(value))
        elif number in (4, 5, 6):
            found.kind = "histogram" if number == 5 else "media"
    return found


def _metadata(data: bytes) -> tuple[str, bytes, bool]:
    """(plugin's name, its content, whether it is said to be a scalar)."""
    plugin, content, is_scalar = "", b"", False
    for number, _, value in protobuf.fields(data):
        if number == 1:
            for inner, _, each in protobuf.fields(protobuf.octets(value)):
                if inner == 1:
                    plugin = protobuf.text(each)
                elif inner == 2:
                    content = protobuf.octets(each)
        elif number == 4:
            is_scalar = value == _SCALAR_CLASS
    return plugin, content, is_scalar


def _tensor_scalar(data: bytes) -> float | None:
    """The number of a tensor without dimensions, or with one element; None for any other."""
    dtype, content, found = 0, b"", list[float]()
    for number, kind, value in protobuf.fields(data):
        if number == 1:
            dtype = protobuf.signed(value)
        elif number == 2 and _elements(protobuf.octets(value)) != 1:
            return None
        elif number == 4:
            content = protobuf.octets(value)
        elif number in (5, 6):
            size, read = (4, protobuf.single) if number == 5 else (8, protobuf.double)
            packed = protobuf.octets(value)
            found += [read(packed[at : at + size]) for at in range(0, len(packed), size)]
        elif number in (7, 10, 16, 17) and kind in (protobuf.VARINT, protobuf.BYTES):
            found += [
                float(each if number > 10 else protobuf.signed(each)) for each in protobuf.varints(value)
            ]
        elif number == 13:
            found += [struct.unpack("<e", each.to_bytes(2, "little"))[0] for each in protobuf.varints(value)]
    layout = _FLOATS.get(dtype) or _WHOLES.get(dtype)
    if content and layout is not None and len(content) == layout[1]:
        return float(struct.unpack(f"<{layout[0]}", content)[0])
    return found[0] if len(found) == 1 and layout is not None else None


def _elements(shape: bytes) -> int:
    count = 1
    for number, _, value in protobuf.fields(shape):
        if number == 2:
            sizes = [
                protobuf.signed(v) for inner, _, v in protobuf.fields(protobuf.octets(value)) if inner == 1
            ]
            count *= sizes[0] if sizes else 0
    return count


def _hparams(content: bytes) -> dict[str, Any]:
    """Name and value of each hyperparameter that a session began with."""
    found: dict[str, Any] = {}
    for number, _, value in protobuf.fields(content):
        if number != 3:
            continue
        for inner, _, entry in protobuf.fields(protobuf.octets(value)):
            if inner == 1:
                pair = {n: v for n, _, v in protobuf.fields(protobuf.octets(entry))}
                found[protobuf.text(pair.get(1, b""))] = _json(protobuf.octets(pair.get(2, b"")))
    return found


def _json(data: bytes) -> Any:
    """A google.protobuf.Value that is no list and no object."""
    for number, _, value in protobuf.fields(data):
        if number == 2:
            number_value = protobuf.double(value)
            return int(number_value) if number_value.is_integer() else number_value
        if number == 3:
            return protobuf.text(value)
        if number == 4:
            return bool(value)
    return None
