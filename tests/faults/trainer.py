"""A training that writes down, outside of the client and its spool, what it logged and what it was told.

Run as a program, since it is going to be killed. Of the product it knows `truerun` alone.

The account: a head, then for each record its value and kind, written before the call that logs it. Everything is
written by single system calls, so that a kill leaves whole numbers.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from truerun.answers import Answer
    from truerun.feed import Feed, Next

HEAD_BYTES = 64
_NUMBER = struct.Struct("<q")
_ENTRY = struct.Struct("<dq")
# Where each number of the head stands; the stream's id comes first.
_RETURNED, _ACKNOWLEDGED, _WENT_BACK_FROM, _WENT_BACK_TO, _ENDED = range(16, 56, 8)


class Kind(IntEnum):
    POINT = 0
    GROUPS = 1
    EVENT = 2
    SUMMARY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a training says of its stream.

    Args:
        entries: (value, kind) of each record by idx, those included whose call may not have returned.
        returned: Records whose call has returned.
        acknowledged: Records below, as the client understood the service.
        went_back: (from, to) where an acknowledgement was taken back; None where none was.
        is_ended: Whether the end was logged as well, as one more record.
    """

    stream_id: UUID
    entries: list[tuple[float, Kind]]
    returned: int
    acknowledged: int
    went_back: tuple[int, int] | None
    is_ended: bool


def read_account(path: Path) -> Account | None:
    """None when the training was killed before it could log anything."""
    content = path.read_bytes() if path.exists() else b""
    if len(content) < HEAD_BYTES:
        return None

    def number(place: int) -> int:
        return int(_NUMBER.unpack_from(content, place)[0])

    whole = len(content) - (len(content) - HEAD_BYTES) % _ENTRY.size
    back = number(_WENT_BACK_FROM), number(_WENT_BACK_TO)
    return Account(
        stream_id=UUID(bytes=content[:16]),
        entries=[(value, Kind(kind)) for value, kind in _ENTRY.iter_unpack(content[HEAD_BYTES:whole])],
        returned=number(_RETURNED),
        acknowledged=number(_ACKNOWLEDGED),
        went_back=back if any(back) else None,
        is_ended=bool(number(_ENDED)),
    )


class Writing:
    """The side of the account that the training holds."""

    def __init__(self, path: Path, stream_id: UUID) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(self._file, stream_id.bytes.ljust(HEAD_BYTES, b"\0"), 0)
        self._acknowledged = 0

    def will_log(self, idx: int, value: float, kind: Kind) -> None:
        os.pwrite(self._file, _ENTRY.pack(value, kind), HEAD_BYTES + idx * _ENTRY.size)

    def has_logged(self, records: int) -> None:
        self._put(_RETURNED, records)

    def was_told(self, acknowledged: int) -> None:
        if acknowledged < self._acknowledged:
            self._put(_WENT_BACK_FROM, self._acknowledged)
            self._put(_WENT_BACK_TO, acknowledged)
        elif acknowledged > self._acknowledged:
            self._put(_ACKNOWLEDGED, acknowledged)
            self._acknowledged = acknowledged

    def will_end(self) -> None:
        self._put(_ENDED, 1)

    def _put(self, place: int, number: int) -> None:
        os.pwrite(self._file, _NUMBER.pack(number), place)


def drawn(draw: random.Random) -> tuple[float, Kind]:
    value = draw.choice((math.nan, math.inf, -math.inf)) if draw.random() < 0.02 else draw.gauss(0.0, 1.0)
    (kind,) = draw.choices((Kind.POINT, Kind.GROUPS, Kind.EVENT, Kind.SUMMARY), (80, 15, 1, 4))
    return value, kind


def title_of(value: float) -> str:
    return f"saw {value!r}"


def _listen(feed: Feed, account: Writing) -> None:
    """Write down what each answer made of the acknowledgement: one that is taken back is soon given anew."""
    take = feed.take

    def told(answer: Answer) -> Next:
        result = take(answer)
        account.was_told(feed.next_idx)
        return result

    feed.take = told  # type: ignore[method-assign]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train until so many records are logged, or a file says that it is enough."""
    parser = argparse.ArgumentParser()
    for name in ("key", "account", "stop"):
        parser.add_argument(name)
    for name in ("seed", "records"):
        parser.add_argument(name, type=int)
    parser.add_argument("--patience", type=float, default=2.0)
    parser.add_argument("--stay", action="store_true", help="be silent at the end, until killed")
    given = parser.parse_args(arguments)

    import truerun

    run = truerun.init("records", run_key=given.key)
    recorder = run._outlet.recorder
    assert recorder is not None
    account = Writing(Path(given.account), recorder.stream_id)
    _listen(recorder.feed, account)
    draw, stop, parent = random.Random(given.seed), Path(given.stop), os.getppid()
    idx = 0
    while idx < given.records and not stop.exists():
        for _ in range(min(draw.randint(1, 15), given.records - idx)):
            value, kind = drawn(draw)
            account.will_log(idx, value, kind)
            if kind is Kind.POINT:
                run.log({"loss": value, "half": value / 2}, step=idx)
            elif kind is Kind.GROUPS:
                run.log_groups({"easy": {"mse": value}, "hard": {"mse": 2 * value}}, step=idx, split="val")
            elif kind is Kind.EVENT:
                run.alert(title_of(value))
            else:
                run.summary["latest"] = value
            idx += 1
            # From here on a kill must not lose it.
            account.has_logged(idx)
        time.sleep(draw.uniform(0.01, 0.1))
    # Whoever would kill it may have been killed.
    while given.stay and os.getppid() == parent:
        time.sleep(0.02)
    account.will_end()
    run.finish(timeout=given.patience)


if __name__ == "__main__":
    main()
