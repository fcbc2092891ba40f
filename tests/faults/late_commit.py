"""The service with a defect built in: it answers a batch of records first and commits a moment later.

Run as a program in the place of an API, by tests that want to see the defect found. The product knows nothing of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI, Request

from app.api import dependencies
from app.api.dependencies import Seat
from app.db import Session
from app.main import create_app

# Long enough for a kill to come in between, shorter than anything waits for the stream's lock.
LATE_SECONDS = 1.0


def _commits_late(request: Request, _: Seat) -> Iterator[Session]:
    session = request.app.state.sessions()
    try:
        yield session
    except BaseException:
        session.rollback()
        session.close()
        raise
    if not request.url.path.endswith("/records"):
        _commit(session)
        return
    timer = threading.Timer(LATE_SECONDS, _commit, [session])
    timer.daemon = True
    timer.start()


def _commit(session: Session) -> None:
    with session:
        session.commit()


def create_late_app() -> FastAPI:
    app = create_app()
    app.dependency_overrides[dependencies._session] = _commits_late
    return app


if __name__ == "__main__":
    uvicorn.run(create_late_app(), port=int(os.environ["TRUERUN_PORT"]), log_level="warning")
