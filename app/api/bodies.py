"""Bodies of requests: read once, bounded, unpacked, and JSON parsed strictly before FastAPI sees it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from app.api.problems import TooLarge, TooSlow, UnsupportedBody
from app.api.strict_json import read_json

_T = TypeVar("_T")
MAX_BODY_BYTES = 8 * 2**20
_DIGITS = 20
# From here on reading JSON takes so long that other requests would notice.
_LONG_BYTES = 256 * 2**10
_JSON = "application/json"


class _ReadRequest(Request):
    """A request whose body has been read and parsed; FastAPI asks it and finds both."""

    def __init__(self, request: Request, body: bytes, document: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._read_body = body
        self._document = document

    async def body(self) -> bytes:
        return self._read_body

    async def json(self) -> Any:
        return self._document


class StrictRoute(APIRoute):
    """A route whose JSON bodies are checked for everything that would break further in."""

    async def plainly(self, request: Request, body: bytes) -> Response | None:  # noqa: ARG002  for routes that can
        """An answer without FastAPI's own reading of the request; None to go that way.

        For a route that is asked often: what it answers here has to be what it would answer there.
        """
        return None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            if request.method not in ("POST", "PUT", "PATCH"):
                return await handle(request)
            body = await _body(request)
            document = None
            if body and self.body_field is not None:
                content_type = media_type(request)
                if content_type != _JSON:
                    raise UnsupportedBody(
                        f"this route reads {_JSON}, not {content_type or 'a body without content type'}",
                        field="Content-Type",
                    )
                if (answer := await self.plainly(request, body)) is not None:
                    return answer
                document = await off_the_loop(body, read_json)
            return await handle(_ReadRequest(request, body, document))

        return strictly


async def off_the_loop(body: bytes, read: Callable[[bytes], _T]) -> _T:
    """What `read` makes of the body, in a thread of its own where that takes long."""
    if len(body) < _LONG_BYTES:
        return read(body)
    return await run_in_threadpool(read, body)


def media_type(request: Request) -> str:
    """The content type without its parameters; empty when none was sent."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def raw_body(request: Request) -> bytes:
    """The unpacked body, for routes that read other formats than JSON."""
    return await request.body()


async def _body(request: Request) -> bytes:
    """The unpacked body. It is read before a connection to the database is taken: slow senders hold none."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise UnsupportedBody(
            f"content encoding {encoding!r} is not read; send gzip or none", field="Content-Encoding"
        )
    announced = request.headers.get("content-length", "")
    # The server refuses a length that is no number; it is only looked at here so that nobody sends in vain.
    if announced.isdecimal() and len(announced) < _DIGITS and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    seconds = request.app.state.body_seconds
    try:
        with anyio.fail_after(seconds):
            return await _unpacked(request, is_gzip=encoding == "gzip")
    except TimeoutError:
        raise TooSlow(f"the body was not sent within {seconds:g} s; send fewer values at a time") from None


async def _unpacked(request: Request, *, is_gzip: bool) -> bytes:
    # wbits 31 is zlib's way to say: a gzip header and trailer.
    unpack = zlib.decompressobj(wbits=31) if is_gzip else None
    # Joined once: a buffer that grows with every piece is copied again and again.
    parts: list[bytes] = []
    received = held = 0
    async for chunk in request.stream():
        # Packed data may also go on for ever without ever holding anything.
        received += len(chunk)
        if received > MAX_BODY_BYTES:
            raise _too_large()
        if unpack is None:
            parts.append(chunk)
            continue
        try:
            parts.append(unpack.decompress(chunk, MAX_BODY_BYTES + 1 - held))
        except zlib.error:
            raise UnsupportedBody("the body is not gzip", field="Content-Encoding") from None
        held += len(parts[-1])
        if unpack.unconsumed_tail or held > MAX_BODY_BYTES:
            raise _too_large()
        if unpack.unused_data:
            raise UnsupportedBody("something follows the end of the gzip body", field="Content-Encoding")
    if unpack is not None and received and not unpack.eof:
        raise UnsupportedBody("the gzip body ends too early", field="Content-Encoding")
    return b"".join(parts)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB; send fewer values at a time")
