"""Reads the transaction log that wandb writes: LevelDB's framing, CRC-checked, around protobuf records."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class Damaged(Exception):
    """The log is not whole."""


@dataclass
class Log:
    """What one run said.

    Args:
        history: One row each; the keys of nested values joined by NUL, which no key of ours holds.
    """

    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    kinds: list[str] = field(default_factory=list)


def log_below(directory: Path) -> tuple[Log, Path]:
    """The only log in the directory, and the folder with the run's files."""
    (path,) = directory.rglob("run-*.wandb")
    return read(path), path.parent / "files"


def table_of(log: Log, files: Path, key: str) -> dict[str, Any]:
    """The table that the row names, out of its file."""
    (row,) = log.history
    content = json.loads((files / row[f"{key}\0path"]).read_text(), parse_constant=_refuse)
    assert row[f"{key}\0nrows"] == len(content["data"])
    return {"columns": content["columns"], "data": content["data"]}


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def read(path: Path) -> Log:
    from wandb.proto import wandb_internal_pb2 as pb

    log = Log()
    for payload in records(path.read_bytes()):
        record = pb.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        log.kinds.append(kind)
        if kind == "run":
            log.run = record.run
            log.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            log.config |= {_key(item): json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            log.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            log.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "alert":
            log.alerts.append(record.alert)
        elif kind == "exit":
            log.exit_code = record.exit.exit_code
    return log


def _key(item: Any) -> str:
    return "\0".join(item.nested_key) if item.nested_key else item.key


def records(raw: bytes) -> Iterator[bytes]:
    """Every record, put together from its chunks.

    Raises:
        Damaged: A checksum, a length or an order is not right.
    """
    if raw[:4] != b":W&B" or struct.unpack("<HB", raw[4:7]) != (0xBEE1, 0):
        raise Damaged("not a wandb log of version 0")
    at, parts = 7, list[bytes]()
    while at < len(raw):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            # A header does not fit into the rest of a block, which is filled up.
            at += left
            continue
        crc, length, kind = struct.unpack("<IHB", raw[at : at + 7])
        payload = raw[at + 7 : at + 7 + length]
        if len(payload) != length or zlib.crc32(raw[at + 6 : at + 7 + length]) != crc:
            raise Damaged(f"chunk at {at}")
        if (kind in (_FULL, _FIRST)) == bool(parts):
            raise Damaged(f"order at {at}")
        parts.append(payload)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []
        at += 7 + length
    if parts:
        raise Damaged("the last record ends too soon")
