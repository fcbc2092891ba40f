"""Evaluation ids: UUIDv7, so that two evaluations of a run can be told apart by when they were made."""

from __future__ import annotations

import os
import secrets
import threading
import time
from uuid import UUID


class _Ticks:
    """Counts upwards with the clock, and never repeats or goes back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._last = 0

    def draw(self) -> int:
        with self.lock:
            # RFC 9562, method 3: 48 bits of milliseconds and 12 bits of their fraction make one 60-bit counter.
            self._last = max(self._last + 1, time.time_ns() * 4096 // 1_000_000)
            return self._last


_ticks = _Ticks()


def new_id() -> UUID:
    """A UUIDv7 larger than every one this process drew before, whatever the clock does."""
    tick = _ticks.draw()
    milliseconds, fraction = (tick >> 12) & (2**48 - 1), tick & 0xFFF
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))


def _unlock_in_child() -> None:
    # Another thread of the parent may have held the lock at the moment of the fork.
    _ticks.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)
