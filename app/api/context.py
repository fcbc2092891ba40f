"""Around every request: an id, a log line, counters, and the one door where the unforeseen is caught."""

from __future__ import annotations

import asyncio
import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import RequestMetrics
from app.api.problems import problem_response
from app.db.faults import Fault, passing_fault

_log = structlog.get_logger("truerun.api")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Parts of a path that are ids; whatever else stands in an address stays out of the log.
_NAMED = (
    "project", "run_key", "run_id", "suite", "evaluation_id", "alert_id", "token_id", "stream_id"
)  # fmt: skip


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
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        began = time.monotonic()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._metrics.in_hand.inc()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, stamped)
            except asyncio.CancelledError:
                # Only the server cancels, when it stops and this request has had all the time there is.
                state["refused"] = "stopping"
                if status:
                    raise
                await _stopping(request_id)(scope, receive, stamped)
            except ClientDisconnect:
                state["refused"] = "disconnected"
            except Exception as error:
                fault = passing_fault(error)
                if fault is None:
                    _log.exception("request_failed", method=scope["method"], **_names(scope))
                else:
                    state["refused"] = fault.value
                    _log.warning(
                        "database_fault", fault=fault.value, error=_first_line(error), **_names(scope)
                    )
                if status:
                    raise
                await _failure(request_id, fault)(scope, receive, stamped)
            finally:
                self._metrics.in_hand.dec()
                self._note(scope, status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        route = getattr(scope.get("route"), "path", "(none)")
        # Anybody may send any method; only the ones that HTTP knows become a name of a counter.
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        if (cause := state.get("refused")) is not None:
            self._metrics.refused.labels(cause).inc()
        if status == HTTPStatus.CREATED and (gate := state.get("gate")) is not None:
            self._metrics.verdicts.labels(gate).inc()
        # Probes ask several times a minute; that all is well need not be written down each time.
        told = _log.debug if route in ALWAYS_OPEN and status == HTTPStatus.OK else _log.info
        told(
            "request",
            method=method,
            route=route,
            status=status,
            milliseconds=round(1000 * seconds, 1),
            **_names(scope),
        )


ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _names(scope: Scope) -> dict[str, str]:
    """What the request is about and who asks, as far as it is known; never a secret."""
    about = scope.get("path_params", {})
    names = {name: str(about[name])[:128] for name in _NAMED if name in about}
    for name in ("token_prefix", "gate", "refused"):
        if (found := scope["state"].get(name)) is not None:
            names[name] = found
    return names


def _first_line(error: Exception) -> str:
    # What follows the first line may quote values.
    return (str(getattr(error, "orig", None) or error).splitlines() or [""])[0][:200]


_AGAIN = "nothing was stored, send the same request again"
_UNKNOWN = "whether this was stored is not known, send the same request again"
_FAULTS: dict[Fault, tuple[int | None, str]] = {
    Fault.BUSY: (1, f"the database has no connection free; {_AGAIN}"),
    Fault.UNREACHABLE: (5, f"the database cannot be reached or takes no writes; {_AGAIN}"),
    Fault.BROKEN: (
        1,
        f"the connection to the database was lost at work; {_UNKNOWN}",
    ),
    Fault.LOCKED: (1, f"another request holds for long what this one needs; {_AGAIN}"),
    # Without Retry-After: it is this request that takes so long, and its sender may go on with others.
    Fault.SLOW: (None, f"the database took too long; {_AGAIN}, or ask for less"),
    Fault.COLLIDED: (1, f"this request and another got in each other's way; {_AGAIN}"),
    Fault.FULL: (30, f"the database's disk is full; {_AGAIN} when there is room"),
}


def _failure(request_id: str, fault: Fault | None) -> ASGIApp:
    if fault is not None:
        seconds, detail = _FAULTS[fault]
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        return problem_response(request_id, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
    return problem_response(
        request_id,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"a defect of the service; nothing was stored. Its log says more under request id {request_id}",
    )


def _stopping(request_id: str) -> ASGIApp:
    return problem_response(
        request_id,
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"the service is stopping; {_UNKNOWN}",
        headers={"Retry-After": "2", "Connection": "close"},
    )


def _request_id(scope: Scope) -> str:
    given = Request(scope).headers.get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex
