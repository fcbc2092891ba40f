"""A clock that goes as fast as the machine lets a process work, to hold a busy service to a limit in seconds."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BEAT_SECONDS = 0.2
_WORK_SECONDS = 0.02
_STATE = struct.Struct("<ddd")


class FairClock:
    """Seconds of a core, as one more process gets them: on a quiet machine those of the wall.

    Whoever shares the machine with others is served late through no fault of its own. A small process measures how
    long it takes to be given 20 ms of a core; by that much this clock goes slower.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    def now(self) -> float:
        """Only differences mean something."""
        fair, measured_at, pace = _STATE.unpack(os.pread(self._file, _STATE.size, 0))
        return float(fair + (time.monotonic() - measured_at) * pace)


def measure(file: int) -> None:
    """Keep (fair seconds, when that was, fair seconds a second) in the file until the parent is gone."""
    fair, parent = 0.0, os.getppid()
    pace, measured_at = _pace(), time.monotonic()
    while os.getppid() == parent:
        os.pwrite(file, _STATE.pack(fair, measured_at, pace), 0)
        time.sleep(_BEAT_SECONDS - _WORK_SECONDS)
        pace = _pace()
        at = time.monotonic()
        fair, measured_at = fair + (at - measured_at) * pace, at


def _pace() -> float:
    """Which part of the time this process may work while it wants to, in (0, 1]."""
    began, given = time.monotonic(), time.process_time()
    while time.process_time() - given < _WORK_SECONDS:
        pass
    return min(1.0, (time.process_time() - given) / (time.monotonic() - began))


@contextmanager
def a_fair_clock() -> Iterator[FairClock]:
    with tempfile.TemporaryFile() as file:
        os.pwrite(file.fileno(), _STATE.pack(0.0, time.monotonic(), 1.0), 0)
        command = [sys.executable, "-P", __file__, str(file.fileno())]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[file.fileno()]) as process:
            try:
                yield FairClock(file.fileno())
            finally:
                process.kill()


if __name__ == "__main__":
    measure(int(sys.argv[1]))
