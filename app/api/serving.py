"""The HTTP server: uvicorn, with the limits and the end that it lacks."""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import sys
import threading
from http import HTTPStatus
from types import FrameType
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import MEDIA_TYPE

_log = structlog.get_logger("truerun.api")
MAX_HEAD_BYTES = 64 * 2**10
# Longer than the minute for which proxies keep a connection: the one that ends it first must not be us.
_IDLE_SECONDS = 75
# From the end of the time for requests to the end of the process.
_LAST_SECONDS = 2.0


def serve(
    application: str,
    *,
    host: str,
    port: int,
    bound: socket.socket | None,
    trusted_proxies: str,
    head_seconds: float,
    stop_seconds: float,
) -> None:
    """Serve until SIGTERM or SIGINT, which is raised again at the end.

    From the signal on connections are refused, and requests in hand are finished; after `stop_seconds` what is left is
    broken off, and the process is gone soon after, whatever a request is doing.

    Args:
        application: Where the factory is, `module:name`.
        bound: A socket to serve on, instead of one of our own.
    """
    configuration = uvicorn.Config(
        application,
        factory=True,
        host=host,
        port=port,
        http=_bounded(head_seconds),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=trusted_proxies,
        timeout_keep_alive=_IDLE_SECONDS,
        # Zero would break requests off that have just begun to answer.
        timeout_graceful_shutdown=max(1, math.floor(stop_seconds)),
    )
    _Server(configuration, stop_seconds).run(sockets=None if bound is None else [bound])


class _Server(uvicorn.Server):
    """Uvicorn, and a clock that is started by the signal to stop."""

    def __init__(self, configuration: uvicorn.Config, stop_seconds: float) -> None:
        super().__init__(configuration)
        self._stop_seconds = stop_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            clock = threading.Timer(self._stop_seconds + _LAST_SECONDS, _leave)
            clock.daemon = True
            clock.start()
        super().handle_exit(sig, frame)


def _leave() -> None:
    """End this process on the spot: a thread that never comes back would keep it for ever."""
    # Nothing that may wait for a lock, as logging does.
    print("truerun-server: a request did not come to an end; left without it", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(1)


class _HeadTooLarge(Exception):
    pass


class _BoundedConnection(HttpToolsProtocol):
    """One connection, whose request heads have a size and a time to arrive in."""

    head_seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.url = b""
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        if was_in_head:
            self._await_head()
            self._head_bytes += len(data)
        super().data_received(data)
        # Bytes of the body that came along with the last of the head are not held against it.
        if was_in_head and self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._cancel_timer()
        if self._head_size() > MAX_HEAD_BYTES:
            # The parser makes it one of its own errors, and `send_400_response` answers.
            raise _HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_head = True
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  it is what uvicorn would say
        self._is_in_head = False
        if self._head_size() > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP that the service reads")

    def _head_size(self) -> int:
        """Bytes of what has been parsed of the head: a header has four beyond its name and value."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers or ())

    def _refuse_head(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"address and headers are larger than {MAX_HEAD_BYTES // 2**10} KiB; send less in them",
        )

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"no request came within {self.head_seconds:g} s")

    def _cancel_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without the application, which has not seen the request, and hang up."""
        self._cancel_timer()
        if self.transport.is_closing():
            return
        _log.warning("connection_refused", status=int(status))
        document: dict[str, Any] = {
            "type": f"about:blank#{status.phrase.lower().replace(' ', '-')}",
            "title": status.phrase,
            "status": int(status),
            "detail": detail,
        }
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _bounded(head_seconds: float) -> type[_BoundedConnection]:
    class Bounded(_BoundedConnection):
        pass

    Bounded.head_seconds = head_seconds
    return Bounded
