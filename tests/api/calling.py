"""Asking the application as a client would, without a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from sqlalchemy import text

from app.db import make_engine, session_factory
from app.main import create_app
from app.services.tokens import ensure_local_admin
from app.settings import Settings
from tests.services.world import NOW

API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Caller:
    """One person (token) asking; paths below /api/v1 may leave it out."""

    portal: BlockingPortal
    client: httpx.AsyncClient
    token: str | None

    def send(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Any = None,
    ) -> httpx.Response:
        sent: dict[str, str | bytes] = dict(headers or {})
        if self.token is not None:
            # As bytes: a header may hold what is no ASCII, and httpx would refuse to send that as text.
            sent["Authorization"] = f"Bearer {self.token}".encode("latin-1")
        if document is not None:
            content = json.dumps(document)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        url = (
            path
            if path.startswith((API, "/healthz", "/readyz", "/metrics", "/docs", "/openapi"))
            else API + path
        )

        async def ask() -> httpx.Response:
            return await self.client.request(method, url, content=content, headers=sent, params=query)

        return self.portal.call(ask)

    def get(self, path: str, **more: Any) -> Any:
        return ok(self.send("GET", path, **more))

    def put(self, path: str, document: Any, **more: Any) -> Any:
        return ok(self.send("PUT", path, document, **more))

    def post(self, path: str, document: Any, **more: Any) -> Any:
        return ok(self.send("POST", path, document, **more))

    def patch(self, path: str, document: Any, **more: Any) -> Any:
        return ok(self.send("PATCH", path, document, **more))

    def with_token(self, token: str | None) -> Caller:
        return Caller(self.portal, self.client, token)

    def as_role(self, role: str, project: str | None, *, run: str | None = None) -> Caller:
        """Somebody with a fresh token of that role."""
        body = {"project": project, "role": role, "label": role, "run": run}
        return self.with_token(self.post("/tokens", body)["token"])


def ok(response: httpx.Response) -> Any:
    """The answer, which must be a success."""
    assert response.status_code < 300, (response.status_code, response.text)
    return response.json() if response.content else None


@contextmanager
def an_admin(database_url: str, **settings: Any) -> Iterator[Caller]:
    """The application over that database, asked by an admin; the tests' Postgres promises nothing, so nor does it."""
    app = create_app(Settings(**{"database_url": database_url, "durability": "waived", **settings}))
    with app.state.sessions.begin() as session:
        token = ensure_local_admin(session, now=NOW, new_id=uuid4)
    with a_caller(app) as nobody:
        yield nobody.with_token(token)


@contextmanager
def a_caller(app: FastAPI) -> Iterator[Caller]:
    """The application, asked by nobody in particular."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 4000))
    with start_blocking_portal() as portal:
        client = httpx.AsyncClient(transport=transport, base_url="http://truerun.test")
        try:
            yield Caller(portal, client, None)
        finally:
            portal.call(client.aclose)
            app.state.engine.dispose()


def row_counts(database_url: str) -> dict[str, int]:
    """How many rows each table has, but for what every request writes."""
    engine = make_engine(database_url)
    try:
        with session_factory(engine).begin() as session:
            names = session.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            ).scalars()
            return {
                name: session.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()
                for name in list(names)
            }
    finally:
        engine.dispose()


def a_run(admin: Caller, *, project: str = "heights", key: str = "run-1", **more: Any) -> str:
    """The id of a new run; the project comes into being with it."""
    body = {"attempt_id": str(uuid4()), **more}
    return str(admin.put(f"/projects/{project}/runs/{key}", body)["run_id"])


def a_post(groups: Mapping[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """An evaluation of metric mse."""
    values = [
        {"metric": "mse", "group": group, "value": value, "n": 100}
        for group, value in (groups or {"a": 0.1, "b": 0.2}).items()
    ]
    return {"suite": "val", "metrics": {"mse": "lower"}, "values": values, **more}


def an_evaluation(admin: Caller, run_id: str, groups: Mapping[str, float] | None = None, **more: Any) -> Any:
    """The verdict of a newly posted evaluation."""
    return admin.put(f"/runs/{run_id}/evaluations/{uuid4()}", a_post(groups, **more))
