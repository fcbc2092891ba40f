"""W&B, offline, into its transaction log; what is in there is counted with a reader of our own, as it has none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import wandb
from wandb.proto.wandb_internal_pb2 import Record

from bench.speed.peers.programs.pace import NUMBERS, main

_FILE_HEAD, _BLOCK = 7, 32768
_PIECE = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class Tracked:
    def __init__(self, place: Path, name: str) -> None:
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
        )
        self._run = wandb.init(project="bench", name=name, mode="offline", dir=place, settings=settings)
        self._file = Path(self._run.settings.sync_file)

    def log(self, step: int) -> None:
        self._run.log(NUMBERS, step=step)

    def finish(self) -> None:
        self._run.finish()

    def readable(self) -> int:
        count = 0
        for content in _records(self._file.read_bytes()):
            record = Record.FromString(content)
            if record.HasField("history"):
                names = {item.key or "/".join(item.nested_key) for item in record.history.item}
                count += len(names & NUMBERS.keys())
        return count


def _records(data: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's form: blocks of 32 KiB, in them pieces headed by checksum, length, kind."""
    at, parts = _FILE_HEAD, b""
    while at + _PIECE.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _PIECE.size:
            at += left
            continue
        _, length, kind = _PIECE.unpack_from(data, at)
        content = data[at + _PIECE.size : at + _PIECE.size + length]
        at += _PIECE.size + length
        parts = content if kind in (_WHOLE, _FIRST) else parts + content
        if kind in (_WHOLE, _LAST):
            yield parts


if __name__ == "__main__":
    main(Tracked)
