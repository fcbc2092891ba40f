"""What is refused before anything is read or asked: too long an address, too many at once, too often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import ALWAYS_OPEN
from app.api.problems import TooLong, TooManyRequests, Unavailable, truerun_error_response
from app.api.rates import Allowance, Buckets, Rates, address_of, digest_of
from app.errors import InvalidInput, TruerunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of everything.

    Args:
        address_bytes: Path and query together.
        in_hand: Requests at once, whether they send, wait or are worked on; each may hold a whole body in memory.
    """

    address_bytes: int = 16 * 2**10
    query_parameters: int = 200
    in_hand: int = 200


class RequestBounds:
    """ASGI middleware; health and metrics are asked at any time and never refused for the load of others."""

    def __init__(self, app: ASGIApp, *, bounds: Bounds, rates: Rates) -> None:
        self._app = app
        self._bounds = bounds
        self._rates = rates
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_address(scope)
            if scope["path"] in ALWAYS_OPEN:
                await self._app(scope, receive, send)
                return
            self._check_load()
            allowance = self._admit(scope)
        except TruerunError as error:
            await truerun_error_response(Request(scope), error)(scope, receive, send)
            return
        self._in_hand += 1
        try:
            await self._app(scope, receive, self._watched(scope, send, allowance))
        finally:
            self._in_hand -= 1

    def _check_address(self, scope: Scope) -> None:
        query: bytes = scope["query_string"]
        if len(scope.get("raw_path") or b"") + len(query) > self._bounds.address_bytes:
            raise TooLong(
                f"the address is longer than {self._bounds.address_bytes} bytes; ask for less at a time"
            )
        if query.count(b"&") >= self._bounds.query_parameters:
            raise InvalidInput(
                f"the query has more than {self._bounds.query_parameters} parameters; ask for less at a time"
            )

    def _check_load(self) -> None:
        if self._in_hand >= self._bounds.in_hand:
            raise Unavailable(
                f"{self._in_hand} requests are being worked on already; nothing was stored, send it again",
                cause="crowded",
            )

    def _admit(self, scope: Scope) -> Allowance | None:
        """What is left to the token after this request; None when nothing is counted."""
        credential = _credential(scope)
        digest = digest_of(credential)
        rejected = self._rates.rejected
        if rejected is not None and not self._rates.is_good(digest):
            left = rejected.look(address_of(scope["client"]))
            if left.wait_seconds > 0:
                raise TooManyRequests(
                    "too many requests from this address came with a token that opens nothing; check the token",
                    cause="rejected_tokens",
                    retry_after=math.ceil(left.wait_seconds),
                )
        tokens = self._rates.tokens
        if tokens is None or not credential:
            return None
        allowance = tokens.take(digest)
        if allowance.wait_seconds > 0:
            raise TooManyRequests(
                f"this token may ask {tokens.per_second:g} times a second, and {tokens.burst} times at once after a "
                "pause; send fewer requests with more in each",
                cause="rate",
                retry_after=math.ceil(allowance.wait_seconds),
                headers=_rate_headers(tokens, allowance),
            )
        return allowance

    def _watched(self, scope: Scope, send: Send, allowance: Allowance | None) -> Send:
        digest = digest_of(_credential(scope))

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == HTTPStatus.UNAUTHORIZED:
                    self._rates.note_rejected(digest, address_of(scope["client"]))
                elif scope["state"].get("token_prefix") is not None:
                    self._rates.note_good(digest)
                if allowance is not None and self._rates.tokens is not None:
                    MutableHeaders(scope=message).update(_rate_headers(self._rates.tokens, allowance))
            await send(message)

        return watched


def _credential(scope: Scope) -> bytes:
    """The secret as it is looked up: however the word before it is written, it is the same token."""
    given: bytes = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return given.partition(b" ")[2].strip()


def _rate_headers(buckets: Buckets, allowance: Allowance) -> dict[str, str]:
    """As the IETF's draft on RateLimit header fields has them."""
    window = math.ceil(buckets.burst / buckets.per_second)
    return {
        "RateLimit-Policy": f'"token";q={buckets.burst};w={window}',
        "RateLimit": f'"token";r={allowance.left};t={math.ceil(allowance.wait_seconds)}',
    }
