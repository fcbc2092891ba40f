"""Ends a program that was started for a benchmark when the benchmark is gone, however that came about.

The benchmark keeps the writing end of a pipe. A byte says that it has ended the program itself; the end of the file
without one, that it was killed. Programs of others cannot be asked to read such a pipe, so a process beside them does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SECONDS = 60.0


@contextmanager
def ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ask the program to end after the block, and have it ended should this process not get there.

    Args:
        process: Leads a group of its own, which is asked as a whole.
    """
    guardian = subprocess.Popen(
        [sys.executable, __file__, str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        _end_group(process.pid, lambda: process.poll() is not None)
        process.wait()
        guardian.communicate(b".")


def _end_group(group: int, has_ended: Callable[[], bool]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + STOP_SECONDS
        while not has_ended() and time.monotonic() < deadline:
            time.sleep(0.05)
        if has_ended():
            return


def _is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def main() -> None:
    group = int(sys.argv[1])
    if not sys.stdin.buffer.read(1):
        _end_group(group, lambda: _is_gone(group))


if __name__ == "__main__":
    main()
