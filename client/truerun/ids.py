"""Evaluation ids: UUIDv7, so that two evaluations of a run can be told apart by when they were made."""

from __future__ import annotations

import os
import secrets
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_tick = 0


def new_id() -> UUID:
    """A UUIDv7 larger than every one this process drew before, whatever the clock does."""
    global _last_tick
    with _lock:
        # RFC 9562, method 3: 48 bits of milliseconds and 12 bits of their fraction make one 60-bit counter.
        tick = max(_last_tick + 1, time.time_ns() * 4096 // 1_000_000)
        _last_tick = tick
    milliseconds, fraction = (tick >> 12) & (2**48 - 1), tick & 0xFFF
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))


def _unlock_in_child() -> None:
    # Another thread of the parent may have held the lock at the moment of the fork.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)
