"""Who may use the database now: as many requests as it has connections for, the others wait a little and are sent away.

Without seats, requests that wait for a connection would fill every thread, and those that hold one could not go on to
give it back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from app.api.problems import Unavailable


class Seats:
    """So many at once; a seat is waited for at most `wait_seconds`."""

    def __init__(self, count: int, *, wait_seconds: float) -> None:
        self.count = count
        self.taken = 0
        self.waiting = 0
        self._wait_seconds = wait_seconds
        self._free = anyio.Semaphore(count)

    @asynccontextmanager
    async def taken_by_one(self) -> AsyncIterator[None]:
        """One seat for the length of the block.

        Raises:
            Unavailable: None became free in time.
        """
        await self._take()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._free.release()

    async def _take(self) -> None:
        self.waiting += 1
        try:
            with anyio.fail_after(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                f"all {self.count} connections to the database are in use; nothing was stored, "
                "send the same request again",
                cause="busy",
            ) from None
        finally:
            self.waiting -= 1
