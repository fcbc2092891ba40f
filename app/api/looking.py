"""A look at the database from the side, which has an answer soon, whatever the database does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI

from app.db import Session

LOOK_SECONDS = 1.8
Found = TypeVar("Found")


async def look(app: FastAPI, work: Callable[[Session], Found], *, seconds: float = LOOK_SECONDS) -> Found:
    """What `work` finds over a connection of its own, which is not one of the pool.

    Raises:
        TimeoutError: The database did not answer in time; the thread that asks it ends by the driver's own timeouts.
    """

    def ask() -> Found:
        with app.state.probe.begin() as session:
            return work(session)

    with anyio.fail_after(seconds):
        # Threads of its own: the usual ones may all be waiting for that very database.
        return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
