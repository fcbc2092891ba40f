"""What never changes once it is written, kept in the process so that it is not read and parsed again each time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """The things used last, bounded by their size; for threads.

    A key has to name the content, not only the thing: what a transaction wrote and took back may be written
    differently by the next.

    Args:
        most: How much is kept, in the unit of `size`.
        size: Of one thing.
    """

    def __init__(self, *, most: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._most = most
        self._size = size
        self._held = 0
        self._things: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            thing = self._things.get(key)
            if thing is not None:
                self._things.move_to_end(key)
            return thing

    def put(self, key: K, thing: V) -> None:
        """Keep it, unless it alone is too large."""
        size = self._size(thing)
        if size > self._most:
            return
        with self._lock:
            if key in self._things:
                return
            self._things[key] = thing
            self._held += size
            while self._held > self._most:
                _, oldest = self._things.popitem(last=False)
                self._held -= self._size(oldest)
