"""How much of a body is read, and for how long."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api.bodies import MAX_BODY_BYTES
from tests.api.calling import Caller, an_admin

MIB = 2**20
GZIP = {"Content-Encoding": "gzip"}


def a_project(key: str = "heights", *, padding: int = 0) -> bytes:
    return (json.dumps({"key": key}) + " " * padding).encode()


def create(caller: Caller, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return caller.send("POST", "/projects", content=content, headers=headers)


def stream(caller: Caller, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> httpx.Response:
    """Send without saying how long it will be."""

    async def ask() -> httpx.Response:
        sent = {"Authorization": f"Bearer {caller.token}", "Content-Type": "application/json", **headers}
        return await caller.client.post("/api/v1/projects", content=chunks, headers=sent)

    return caller.portal.call(ask)


class Source:
    """Chunks, and how many of them were asked for."""

    def __init__(self, chunk: bytes, *, most: int, pause: float = 0.0, first: bytes = b"") -> None:
        self.sent = 0
        self.began = asyncio.Event()
        self._first, self._chunk, self._most, self._pause = first, chunk, most, pause

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        while self.sent < self._most:
            self.sent += 1
            self.began.set()
            yield self._chunk
            await asyncio.sleep(self._pause)


def test_a_body_up_to_the_limit_is_read_packed_or_not(admin: Caller) -> None:
    most = MAX_BODY_BYTES - len(a_project("plain"))

    plain = create(admin, a_project("plain", padding=most))
    packed = create(admin, gzip.compress(a_project("packs", padding=most)), GZIP)
    longer = create(admin, a_project("plain", padding=most + 1))
    longer_packed = create(admin, gzip.compress(a_project("packs", padding=most + 1)), GZIP)

    assert (plain.status_code, packed.status_code) == (201, 201)
    assert (longer.status_code, longer_packed.status_code) == (413, 413)
    assert "8 MiB" in longer.json()["detail"]


def test_a_bomb_is_not_unpacked_beyond_the_limit(admin: Caller) -> None:
    bomb = gzip.compress(b" " * (2048 * MIB // 8))

    response = create(admin, bomb, GZIP)

    assert len(bomb) < MIB
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        pytest.param(Source(b" " * MIB, most=10_000), {}, id="chunks without end"),
        pytest.param(
            # Stored blocks of no bytes: packed data that goes on for ever and never holds anything.
            Source(
                b"\x00\x00\x00\xff\xff" * 100_000,
                most=10_000,
                first=b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
            ),
            GZIP,
            id="packed nothing without end",
        ),
    ],
)
def test_a_body_of_unknown_length_is_left_at_the_limit(
    admin: Caller, source: Source, headers: dict[str, str]
) -> None:
    response = stream(admin, source, headers)

    assert response.status_code == 413, response.text
    assert source.sent < 40


@pytest.mark.parametrize(
    ("content", "encoding", "status"),
    [
        pytest.param(gzip.compress(gzip.compress(a_project())), "gzip", 422, id="packed twice"),
        pytest.param(
            gzip.compress(gzip.compress(a_project())), "gzip, gzip", 415, id="packed twice and said"
        ),
        pytest.param(gzip.compress(a_project()) + b"more", "gzip", 415, id="something after the end"),
        pytest.param(gzip.compress(a_project()) * 2, "gzip", 415, id="two in one"),
        pytest.param(gzip.compress(a_project())[:-4], "gzip", 415, id="cut short"),
        pytest.param(a_project(), "gzip", 415, id="not packed"),
        pytest.param(zlib.compress(a_project()), "deflate", 415, id="another way of packing"),
        pytest.param(b"", "gzip", 422, id="nothing"),
    ],
)
def test_a_body_that_is_not_what_its_header_says_is_refused(
    admin: Caller, content: bytes, encoding: str, status: int
) -> None:
    response = create(admin, content, {"Content-Encoding": encoding})

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert admin.get("/projects")["items"] == []


def test_something_sent_after_the_end_of_a_packed_body_is_not_kept_in_memory(admin: Caller) -> None:
    source = Source(b"\0" * MIB, most=1000, first=gzip.compress(a_project()))

    response = stream(admin, source, GZIP)

    assert response.status_code == 415
    assert source.sent < 3


def test_a_body_that_drips_is_cut_off_and_takes_no_connection_meanwhile(database_url: str) -> None:
    with an_admin(database_url, body_seconds=1.0, database_connections=1) as admin:
        dripping = Source(b" ", most=1000, pause=0.05)

        async def ask() -> tuple[httpx.Response, list[Any]]:
            headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "application/json"}
            slow = asyncio.ensure_future(
                admin.client.post("/api/v1/projects", content=dripping, headers=headers)
            )
            await dripping.began.wait()
            others = [await admin.client.get("/api/v1/me", headers=headers) for _ in range(3)]
            assert not slow.done()
            return await slow, others

        response, others = admin.portal.call(ask)

    assert [each.status_code for each in others] == [200] * 3
    assert response.status_code == 408
    assert response.headers["connection"] == "close"
    assert "1 s" in response.json()["detail"]
    assert dripping.sent < 100
