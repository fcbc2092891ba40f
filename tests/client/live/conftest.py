"""The real service on a real socket, over a database of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import structlog
import uvicorn

from app.db import make_engine, session_factory
from app.main import create_app
from app.services import tokens
from app.settings import Settings
from tests.client.live.heights import post
from tests.client.live.mirrored import wandb, working
from tests.client.live.service import Live, Spoken
from truerun.cli import main

__all__ = ["wandb", "working"]


@pytest.fixture
def quiet_service() -> Iterator[None]:
    """What the service logs must not mix with what a command prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def live(
    database_url: str,
    quiet_service: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Live]:
    engine = make_engine(database_url)
    with session_factory(engine)() as session, session.begin():
        token = tokens.ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4)
    engine.dispose()
    config = uvicorn.Config(
        create_app(Settings(database_url=database_url, durability="waived")),
        host="127.0.0.1",
        port=0,
        log_level="error",
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < deadline, "the service did not start in time"
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    monkeypatch.setenv("TRUERUN_URL", url)
    monkeypatch.setenv("TRUERUN_TOKEN", token)
    monkeypatch.setenv("TRUERUN_PROJECT", "codes")

    def say(*arguments: str) -> Spoken:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Spoken(code, captured.out, captured.err)

    yield Live(url, token, database_url, say)
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def heights(live: Live) -> dict[str, Any]:
    """Run 2 is champion, run 6 was posted after it, run 7 equals run 2 but for a hundredth."""
    evaluations = {"run-2": post(live.run("run-2", name="run 2", seed=1, tags=["old"]), "run2").evaluation}
    assert live.say("bootstrap", "run-2", "--reason", "first").code == 0
    evaluations["run-6"] = post(live.run("run-6", name="run 6", seed=1, run_group="g"), "run6").evaluation
    evaluations["run-7"] = post(live.run("run-7", seed=1, config={"lr": 0.1}), "run2", scale=0.99).evaluation
    while live.judge_again():
        pass
    return evaluations
