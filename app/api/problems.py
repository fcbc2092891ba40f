"""Errors as RFC 9457 problem details; the only place that knows which error has which status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from app.errors import Conflict, Forbidden, InvalidInput, NotFound, OutOfOrder, Problem, TruerunError

MEDIA_TYPE = "application/problem+json"
_SHOWN_PROBLEMS = 20


class Unauthenticated(TruerunError):
    """No token, or one that opens nothing."""


class TooLarge(TruerunError):
    """The body is larger than the service reads."""


class UnsupportedBody(TruerunError):
    """The body's content type or encoding is not one that this route reads."""


class Passing(TruerunError):
    """What stands in the way now passes by itself.

    Args:
        cause: One word for counters.
        retry_after: Seconds until it is worth a try.
        headers: What more the answer says.
    """

    def __init__(
        self, message: str, *, cause: str, retry_after: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.headers = {"Retry-After": str(retry_after), **(headers or {})}


class Unavailable(Passing):
    """The service cannot do its part at the moment."""


class TooManyRequests(Passing):
    """The caller asks more often than it may."""


class TooSlow(Passing):
    """The caller did not send its request in time; the connection is of no more use."""

    def __init__(self, message: str) -> None:
        super().__init__(message, cause="slow_body", headers={"Connection": "close"})


class TooLong(TruerunError):
    """The address is longer than the service reads."""


_STATUS: dict[type[TruerunError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    Forbidden: HTTPStatus.FORBIDDEN,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedBody: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    TooLong: HTTPStatus.REQUEST_URI_TOO_LONG,
}


class FieldProblem(BaseModel):
    field: str | None
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457, with the fields that are wrong and the way out."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank#unprocessable",
                "title": "Unprocessable",
                "status": 422,
                "detail": "metrics.my_err: say which direction is better",
                "field": "metrics.my_err",
                "problems": [{"field": "metrics.my_err", "message": "say which direction is better"}],
                "reasons": [],
                "request_id": "01998f6e",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    problems: list[FieldProblem] = []
    reasons: list[str] = []
    # Of records that came too early: the first that is missing.
    expected: int | None = None
    request_id: str | None = None


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "description": description, "content": {MEDIA_TYPE: {}}}
    for status, description in {
        400: "The request is not HTTP that the service reads.",
        401: "No token, or one that is unknown, expired or revoked.",
        403: "The token's role may not do this.",
        404: "No such thing in this project.",
        409: "Contradicts what is stored; `reasons` says each contradiction.",
        408: "The request was not sent in time.",
        413: "The body is too large.",
        414: "The address is too long.",
        415: "The content type is not one that this route reads.",
        422: "A field is wrong; `problems` names each.",
        429: "Too many requests; `Retry-After` says when to go on.",
        500: "A defect of ours; nothing was stored.",
        503: "The service cannot do its part at the moment; send the same request again after `Retry-After`.",
    }.items()
}


def problem_response(
    request_id: str | None,
    status: HTTPStatus,
    detail: str,
    *,
    field: str | None = None,
    problems: Iterable[Problem] = (),
    reasons: Sequence[str] = (),
    expected: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem as a response; text that is no UTF-8 is shown escaped."""
    title = status.phrase
    content = {
        "type": f"about:blank#{title.lower().replace(' ', '-')}",
        "title": title,
        "status": int(status),
        "detail": _visible(detail),
        "field": None if field is None else _visible(field),
        "problems": [
            {"field": None if p.field is None else _visible(p.field), "message": _visible(p.message)}
            for p in list(problems)[:_SHOWN_PROBLEMS]
        ],
        "reasons": [_visible(reason) for reason in reasons],
        "request_id": request_id,
    }
    if expected is not None:
        content["expected"] = expected
    return JSONResponse(content, status_code=int(status), media_type=MEDIA_TYPE, headers=dict(headers or {}))


def _visible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:2000]


def _request_id(request: Request) -> str | None:
    return getattr(request.state, "request_id", None)


def install(app: FastAPI) -> None:
    """Teach the application to answer every foreseen error as problem details."""
    app.add_exception_handler(TruerunError, truerun_error_response)  # type: ignore[arg-type]  # narrower than Exception
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # likewise
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]  # likewise


def truerun_error_response(request: Request, error: TruerunError) -> Response:
    status = next(found for kind, found in _STATUS.items() if isinstance(error, kind))
    problems = error.problems if isinstance(error, InvalidInput) else ()
    headers = error.headers if isinstance(error, Passing) else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer"}
    # For the counters around the application, which see the status alone.
    request.scope.setdefault("state", {})["refused"] = error.cause if isinstance(error, Passing) else None
    first = problems[0] if problems else None
    detail, field = error.message, error.field
    if first is not None and field is None:
        field = first.field
    if first is not None and first.message not in detail:
        detail = f"{detail}: {first.message}"
    return problem_response(
        _request_id(request),
        status,
        detail,
        field=field,
        problems=problems,
        reasons=error.reasons if isinstance(error, Conflict) else (),
        expected=error.expected if isinstance(error, OutOfOrder) else None,
        headers=headers,
    )


def _validation_error(request: Request, error: RequestValidationError) -> Response:
    problems = [Problem(field=_field(found["loc"]), message=_message(found)) for found in error.errors()]
    first = problems[0]
    detail = f"{first.field}: {first.message}" if first.field else first.message
    return problem_response(
        _request_id(request),
        HTTPStatus.UNPROCESSABLE_ENTITY,
        detail,
        field=first.field,
        problems=problems,
    )


# Names of union branches that pydantic puts into an error's path; they are no fields of the request.
_BRANCHES = (
    "function-",
    "constrained-",
    "literal[",
    "lax-or-strict",
    "union[",
    "nullable[",
    "json-or-python",
)


def _field(loc: Sequence[Any]) -> str | None:
    parts = [str(part) for part in loc[1:] if not str(part).startswith(_BRANCHES)]
    return ".".join(parts) or None


def _message(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return "is no field of this request; the fields are listed at /docs"
    if found["type"] == "missing":
        return "is required"
    return str(found["msg"]).removeprefix("Value error, ")


def _http_error(request: Request, error: HTTPException) -> Response:
    details = {
        HTTPStatus.NOT_FOUND: "there is no such address; the API is described at /docs",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not offered here; the API is described at /docs",
    }
    status = HTTPStatus(error.status_code)
    detail = details.get(status, str(error.detail))
    return problem_response(_request_id(request), status, detail, headers=error.headers)
