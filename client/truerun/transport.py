"""The one door to the network: a request goes in, an answer comes out, and nothing is raised."""

from __future__ import annotations

import codecs
import json
import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from truerun import __version__
from truerun.answers import Answer
from truerun.places import is_loopback

LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0
_WRITTEN_AT_ONCE_BYTES = 64 * 1024


# What tells each request that is made; a training that shows its log has no use for ours.
_CHATTY = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")
_this_thread = threading.local()


def hush() -> None:
    """Keep what the HTTP library logs of this thread's requests out of the training's log."""
    _this_thread.is_hushed = True
    for name in _CHATTY:
        # Once, however often it is added; other threads' requests are told as before.
        logging.getLogger(name).addFilter(_is_not_ours)


def _is_not_ours(_record: logging.LogRecord) -> bool:
    return not getattr(_this_thread, "is_hushed", False)


class Transport:
    """Keeps one connection open; used by one thread at a time.

    What it needs is imported when it is made, on the caller's thread: a process that is forked while another thread
    imports a module can never import that module itself.

    Args:
        url: The service's address without `/api/v1`.
        token: Sent as a bearer token unless a request brings its own; None sends none.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self._token = token
        self._client: Any = None
        self._trouble: str | None = None
        self._deadline = 0.0
        try:
            import certifi
            import httpcore
            import httpx

            # Imports what reads a package's files.
            certifi.where()
        except ImportError as error:
            self._trouble = f"httpx cannot be imported: {error}"
        else:
            self._httpx = httpx
            self._too_late = httpcore.ReadTimeout, httpcore.WriteTimeout
            # Names of hosts are looked up by it.
            codecs.lookup("idna")

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        encoding: str | None = None,
        query: Mapping[str, Any] | None = None,
        token: str | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> Answer:
        """Make one request below `/api/v1`, within `seconds` for all of it but the look-up of the service's name."""
        if self._trouble is not None:
            return Answer(trouble=self._trouble)
        httpx = self._httpx
        headers = {"accept": "application/json, */*;q=0.5"}
        bearer = token or self._token
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        if body is not None:
            headers["content-type"] = content_type
        if encoding is not None:
            headers["content-encoding"] = encoding
        self._deadline = time.monotonic() + seconds
        try:
            with self._opened().stream(
                method,
                f"{self.url}/api/v1{path}",
                content=body,
                headers=headers,
                params=dict(query) if query else None,
                timeout=httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds)),
                extensions={"trace": self._watch},
            ) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > LARGEST_ANSWER_BYTES:
                        return Answer(trouble=f"{self.url} answered more than {LARGEST_ANSWER_BYTES} bytes")
                return _answer(response.status_code, response.headers.get("retry-after"), bytes(content))
        except httpx.TimeoutException:
            return Answer(trouble=f"{self.url} did not answer within {seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            return Answer(trouble=f"cannot reach {self.url}: {str(error) or type(error).__name__}")

    def close(self) -> None:
        """Drop the connection; the next request opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Bound what a new connection reads and writes by our deadline.

        A timeout of httpx runs anew with every byte, so that an answer which trickles in would never end.
        """
        if not event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            return
        connection = info["return_value"]
        read, write = connection.read, connection.write
        too_late_to_read, too_late_to_write = self._too_late

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            content: bytes = read(max_bytes, self._left(timeout, too_late_to_read))
            return content

        def write_in_time(buffer: bytes, timeout: float | None = None) -> None:
            for start in range(0, len(buffer), _WRITTEN_AT_ONCE_BYTES):
                part = buffer[start : start + _WRITTEN_AT_ONCE_BYTES]
                write(part, self._left(timeout, too_late_to_write))

        connection.read, connection.write = read_in_time, write_in_time

    def _left(self, timeout: float | None, too_late: type[Exception]) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise too_late("the deadline of the request has passed")
        return left if timeout is None else min(left, timeout)

    def _opened(self) -> Any:
        if self._client is None:
            # A redirect is never followed: it would carry the token elsewhere. A proxy named in the
            # environment is used, except for this machine's own server.
            self._client = self._httpx.Client(
                follow_redirects=False,
                trust_env=not is_loopback(self.url),
                headers={"user-agent": f"truerun/{__version__}"},
            )
        return self._client


def _answer(status: int, retry_after: str | None, content: bytes) -> Answer:
    text = content.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    return Answer(
        status=status,
        document=document if isinstance(document, dict) else None,
        text=text,
        retry_after=retry_after,
    )


def now() -> datetime:
    """The present, for reading a Retry-After that names a moment."""
    return datetime.now(timezone.utc)
