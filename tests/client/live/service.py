"""A running service, and what commands say to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

import truerun
from app.db import make_engine, session_factory
from app.services import rejudge
from truerun.runs import Run


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
        return truerun.init(
            project, run_key=key, url=self.url, token=token or self.token, strict=True, **options
        )

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> httpx.Response:
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
