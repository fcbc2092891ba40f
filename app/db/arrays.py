"""Numpy columns as Postgres arrays and back, in binary, without a Python object for each number.

The form is that of `array_send`: a header of five 32-bit numbers (dimensions, whether there are NULLs, type of the
elements, length, lower bound), then each element with its length before it, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import adapters
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_INT8_OID, _INT8_ARRAY_OID = 20, 1016
_FLOAT8_OID, _FLOAT8_ARRAY_OID = 701, 1022
_ELEMENTS = {
    _FLOAT8_OID: np.dtype([("length", ">i4"), ("value", ">f8")]),
    _INT8_OID: np.dtype([("length", ">i4"), ("value", ">i8")]),
}
_NATIVE = {_FLOAT8_OID: np.float64, _INT8_OID: np.int64}


@dataclass(frozen=True, slots=True)
class Doubles:
    """A column of numbers, for a `float8[]` parameter."""

    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wholes:
    """A column of whole numbers, for a `bigint[]` parameter."""

    values: NDArray[np.int64]


def _dumped(values: NDArray[Any], element: int) -> bytes:
    if not len(values):
        return _HEADER.pack(0, 0, element, 0, 1)[:12]
    written = np.empty(len(values), dtype=_ELEMENTS[element])
    written["length"] = 8
    written["value"] = values
    return _HEADER.pack(1, 0, element, len(values), 1) + written.tobytes()


_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_ROW = struct.Struct(">hi16si16siqiqi")
_COPY_END = struct.pack(">h", -1)


def copied_rows(
    keys: tuple[bytes, bytes], ids: Sequence[int], block_id: int, columns: Sequence[NDArray[np.float64]]
) -> bytes:
    """Rows (uuid, uuid, id, block, numbers) in the binary form of COPY.

    Args:
        keys: The two UUIDs, the same in every row.
        columns: One for each id.
    """
    parts = [_COPY_HEAD]
    for one, column in zip(ids, columns, strict=True):
        written = _dumped(column, _FLOAT8_OID)
        parts += (_COPY_ROW.pack(5, 16, keys[0], 16, keys[1], 8, one, 8, block_id, len(written)), written)
    parts.append(_COPY_END)
    return b"".join(parts)


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element: ClassVar[int]

    def dump(self, obj: Any) -> bytes:
        return _dumped(obj.values, self.element)


class _DoublesDumper(_ArrayDumper):
    oid = _FLOAT8_ARRAY_OID
    element = _FLOAT8_OID


class _WholesDumper(_ArrayDumper):
    oid = _INT8_ARRAY_OID
    element = _INT8_OID


adapters.register_dumper(Doubles, _DoublesDumper)
adapters.register_dumper(Wholes, _WholesDumper)


class _ArrayLoader(Loader):
    """Gives a numpy array; an array that holds NULL or has several dimensions is none of ours."""

    format = Format.BINARY

    def load(self, data: Any) -> NDArray[Any]:
        dimensions, has_null, element = struct.unpack_from(">iiI", data)
        if dimensions == 0:
            return np.empty(0, dtype=_NATIVE[element])
        if dimensions != 1 or has_null:
            raise ValueError("an array column holds NULL or has several dimensions")
        elements = np.frombuffer(data, dtype=_ELEMENTS[element], offset=_HEADER.size)
        return elements["value"].astype(_NATIVE[element])


def columns_cursor(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """A cursor that reads arrays of numbers as numpy columns."""
    cursor = connection.cursor(binary=True)
    for oid in (_FLOAT8_ARRAY_OID, _INT8_ARRAY_OID):
        cursor.adapters.register_loader(oid, _ArrayLoader)
    return cursor
