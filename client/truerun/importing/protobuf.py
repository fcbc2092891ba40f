"""Reading the wire format of protocol buffers, as far as event files need it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | bytes


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """(number, wire type, value) of each field in order; FIXED32 and FIXED64 are their bytes.

    Raises:
        ValueError: The bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: Value
        if kind == VARINT:
            value, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32, BYTES):
            if kind == BYTES:
                length, at = _varint(data, at)
            else:
                length = 8 if kind == FIXED64 else 4
            value, at = data[at : at + length], at + length
            if at > end:
                raise ValueError("a field reaches beyond its message")
        else:
            raise ValueError(f"wire type {kind} is not in use")
        yield number, kind, value


def signed(value: Value) -> int:
    """An int64 as it travels: two's complement in a varint."""
    if not isinstance(value, int):
        raise ValueError("a number was expected")  # noqa: TRY004 - it is the file that is wrong
    return value - 2**64 if value >= 2**63 else value


def double(value: Value) -> float:
    return _unpacked("<d", value)


def single(value: Value) -> float:
    return _unpacked("<f", value)


def octets(value: Value) -> bytes:
    """The bytes of a text or a nested message.

    Raises:
        ValueError: It is a number.
    """
    if not isinstance(value, bytes):
        raise ValueError("a message was expected")  # noqa: TRY004 - it is the file that is wrong
    return value


def text(value: Value) -> str:
    return octets(value).decode("utf-8", "replace")


def varints(value: Value) -> list[int]:
    """The members of a repeated whole number, packed or single."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        each, at = _varint(value, at)
        found.append(each)
    return found


def _unpacked(layout: str, value: Value) -> float:
    try:
        number: float = struct.unpack(layout, octets(value))[0]
    except struct.error as error:
        raise ValueError(str(error)) from None
    return number


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number does not end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
