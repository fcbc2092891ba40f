"""The real service on a real socket, over a database of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
import truerun
import uvicorn
from truerun.cli import main
from truerun.runs import Run

from app.db import make_engine, session_factory
from app.main import create_app
from app.services import rejudge, tokens
from app.settings import Settings


@dataclass
class Spoken:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class Live:
    """A running service and an administrator's token for it.

    Args:
        say: Runs `truerun …` against it.
    """

    url: str
    token: str
    database_url: str
    say: Callable[..., Spoken] = field(repr=False)

    def run(self, key: str, *, project: str = "codes", token: str | None = None, **options: Any) -> Run:
        return truerun.init(project, run_key=key, url=self.url, token=token or self.token, strict=True, **options)

    def request(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {token or self.token}"}
        return httpx.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers)

    def judge_again(self) -> int:
        """What the worker does with stale verdicts; how many there were."""
        engine = make_engine(self.database_url)
        try:
            with session_factory(engine)() as session, session.begin():
                return rejudge.rejudge_batch(session, now=datetime.now(UTC))
        finally:
            engine.dispose()


@pytest.fixture
def live(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Live]:
    engine = make_engine(database_url)
    with session_factory(engine)() as session, session.begin():
        token = tokens.ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4)
    engine.dispose()
    config = uvicorn.Config(
        create_app(Settings(database_url=database_url)), host="127.0.0.1", port=0, log_level="error", lifespan="on"
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
