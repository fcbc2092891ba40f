"""Around every request: an id, a log line, counters, and the one door where the unforeseen is caught."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem_response
from app.db.faults import is_passing

_log = structlog.get_logger("truerun.api")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMetrics:
    """What `/metrics` says of requests, by route template: paths themselves would be without number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self.requests = Counter(
            "truerun_http_requests_total", "Requests answered.", labels, registry=registry
        )
        self.seconds = Histogram(
            "truerun_http_request_seconds",
            "Time to the first byte of the answer.",
            labels[:2],
            registry=registry,
        )


class RequestContext:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, *, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.monotonic()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, stamped)
            except Exception as error:
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                await _failure(request_id, error)(scope, receive, stamped)
            finally:
                self._note(scope, status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        self._metrics.seconds.labels(scope["method"], route).observe(seconds)
        _log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(1000 * seconds, 1),
        )


def _failure(request_id: str, error: Exception) -> ASGIApp:
    if is_passing(error):
        return problem_response(
            request_id,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database cannot answer at the moment; nothing was stored, send the same request again",
            headers={"Retry-After": "1"},
        )
    return problem_response(
        request_id,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"a defect of the service; nothing was stored. Its log says more under request id {request_id}",
    )


def _request_id(scope: Scope) -> str:
    given = Request(scope).headers.get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex
