"""The service with a defect built in: it answers a batch of records first and commits a moment later.

Run as a program in the place of an API, by tests that want to see the defect found. The product knows nothing of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from app.db import Session
from app.db.engine import SessionFactory
from app.main import create_app

# Long enough for a kill to come in between, shorter than anything waits for the stream's lock.
LATE_SECONDS = 3.0
_takes_records = ContextVar("takes_records", default=False)


class LateSessions:
    """Makes sessions as the application's own factory does, but for transactions of a batch of records."""

    def __init__(self, honest: SessionFactory) -> None:
        self._honest = honest

    def __call__(self) -> Session:
        return self._honest()

    @contextmanager
    def begin(self) -> Iterator[Session]:
        if not _takes_records.get():
            with self._honest.begin() as session:
                yield session
            return
        session = self._honest()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        timer = threading.Timer(LATE_SECONDS, _commit, [session])
        timer.daemon = True
        timer.start()


def _commit(session: Session) -> None:
    with session:
        session.commit()


def create_late_app() -> ASGIApp:
    app = create_app()
    app.state.sessions = LateSessions(app.state.sessions)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        _takes_records.set(scope["type"] == "http" and scope["path"].endswith("/records"))
        await app(scope, receive, send)

    return noting


if __name__ == "__main__":
    uvicorn.run(create_late_app(), port=int(os.environ["TRUERUN_PORT"]), log_level="warning")
