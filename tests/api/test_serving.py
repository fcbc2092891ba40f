"""Connections that do not send what HTTP is: bounded in size and in time, and answered as problems."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from app.embedded import EmbeddedPostgres
from tests.api.processes import PATIENCE_SECONDS, Served, served

SECONDS = 1.5


@pytest.fixture(scope="module")
def impatient(postgres: EmbeddedPostgres, database_template: str) -> Iterator[Served]:
    """One process for all of these: none of them reaches the database."""
    name = f"serving_{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {database_template}")
        with served(postgres.url(name), body_seconds=SECONDS) as service:
            yield service
        connection.execute(f"drop database {name} with (force)")


def talk(service: Served, *parts: bytes, pause: float = 0.0) -> tuple[bytes, dict[str, Any]]:
    """What comes back until the service hangs up: the first line and the document."""
    with service.connect() as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(pause)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower(), head
    assert b"application/problem+json" in head.lower(), head
    return head.partition(b"\r\n")[0], json.loads(body)


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_SECONDS)
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


A_REQUEST = b"GET /healthz HTTP/1.1\r\nhost: truerun.test\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([A_REQUEST + b"x-long: " + b"a" * 70_000 + b"\r\n\r\n"], id="one large header"),
        pytest.param([A_REQUEST + b"x-a: b\r\n" * 10_000 + b"\r\n"], id="many headers"),
        pytest.param([A_REQUEST] + [b"x-a: b\r\n" * 1000] * 100, id="headers without end"),
        pytest.param([A_REQUEST + b"x-long: "] + [b"a" * 1000] * 1000, id="one header without end"),
        pytest.param([b"GET /" + b"a" * 1000] + [b"a" * 1000] * 1000, id="an address without end"),
    ],
)
def test_a_head_that_is_too_large_is_431(impatient: Served, parts: list[bytes]) -> None:
    line, problem = talk(impatient, *parts)

    assert line == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert problem["status"] == 431
    assert "64 KiB" in problem["detail"]


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"\0" * 100]
)
def test_what_is_no_http_is_400(impatient: Served, sent: bytes) -> None:
    line, problem = talk(impatient, sent)

    assert line == b"HTTP/1.1 400 Bad Request"
    assert problem["status"] == 400


@pytest.mark.parametrize("first", [[], [A_REQUEST], [A_REQUEST + b"\r\n", A_REQUEST]])
def test_a_head_that_drips_is_408(impatient: Served, first: list[bytes]) -> None:
    began = time.monotonic()
    with impatient.connect() as connection:
        for part in first:
            connection.sendall(part)
        answer = b""
        connection.settimeout(0.1)
        while b"408" not in answer:
            assert time.monotonic() - began < 20, answer
            try:
                connection.sendall(b"x" if first else b"")
                answer += connection.recv(65536)
            except TimeoutError:
                continue

    assert time.monotonic() - began >= SECONDS
    assert b"HTTP/1.1 408 Request Timeout" in answer


def test_who_asks_is_believed_of_a_trusted_proxy_only(database_url: str) -> None:
    sent = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer wrong"}

    def rejections(trusted: str) -> list[int]:
        with (
            served(database_url, rejected_tokens_per_minute=2, trusted_proxies=trusted) as service,
            httpx.Client(base_url=service.url, timeout=PATIENCE_SECONDS) as client,
        ):
            before = [client.get("/api/v1/me", headers=sent).status_code for _ in range(3)]
            elsewhere = {**sent, "X-Forwarded-For": "203.0.113.10"}
            return [*before, client.get("/api/v1/me", headers=elsewhere).status_code]

    assert rejections("127.0.0.1") == [401, 401, 429, 401]
    # All of them are the proxy.
    assert rejections("192.0.2.1") == [401, 401, 429, 429]


def test_who_hangs_up_in_the_middle_of_a_body_is_no_defect(database_url: str) -> None:
    with served(database_url) as service:
        with service.connect() as connection:
            head = "\r\n".join(
                [
                    "POST /api/v1/projects HTTP/1.1",
                    "host: truerun.test",
                    f"authorization: Bearer {service.token}",
                    "content-type: application/json",
                    "content-length: 1000",
                    "",
                    "{",
                ]
            )
            connection.sendall(head.encode())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "disconnected" not in service.log.read_text():
            assert time.monotonic() < deadline, service.log.read_text()
            time.sleep(0.05)
        log = service.log.read_text()

    assert "Traceback" not in log
    assert "request_failed" not in log


def test_one_connection_serves_many_requests_and_large_bodies(impatient: Served) -> None:
    with impatient.client() as client:
        for _ in range(20):
            answer = client.post(
                "/projects", content=b" " * 300_000, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422
        pools = client._transport._pool.connections  # type: ignore[attr-defined]

        assert len(pools) == 1
        assert "server" not in answer.headers
