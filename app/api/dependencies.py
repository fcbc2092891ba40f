"""What routes ask for: a session that commits before the answer, who asks, the clock, the page."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID, uuid4

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.problems import Unauthenticated
from app.db import Session
from app.domain.access import Actor
from app.errors import InvalidInput
from app.services import tokens

_T = TypeVar("_T")
bearer = HTTPBearer(auto_error=False, description="A token: `trn_…`, from `truerun token create`.")


async def _seat(request: Request) -> AsyncIterator[None]:
    async with request.app.state.seats.taken_by_one():
        yield


# Given back before the answer leaves: a client that reads slowly keeps nobody waiting.
Seat = Annotated[None, Depends(_seat, scope="function")]


def _session(request: Request, _: Seat) -> Iterator[Session]:
    with request.app.state.sessions.begin() as session:
        yield session


# scope="function": with the default the commit would run after the answer has left, and a failed one be a lie.
SessionDep = Annotated[Session, Depends(_session, scope="function")]


async def _now() -> datetime:
    # Async, as everything here that waits for nothing: FastAPI sends plain functions to a thread of their own.
    return datetime.now(UTC)


Now = Annotated[datetime, Depends(_now)]


async def _new_id() -> Callable[[], UUID]:
    return uuid4


NewId = Annotated[Callable[[], UUID], Depends(_new_id)]


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def _actor(request: Request, session: SessionDep, now: Now, credentials: Credentials) -> Actor:
    if credentials is None:
        raise Unauthenticated("send a token: Authorization: Bearer trn_…")
    actor = tokens.authenticate(session, credentials.credentials, now=now)
    if actor is None:
        raise Unauthenticated("this token is unknown, expired or revoked; ask a maintainer for another")
    # For the line in the log: who asked, without the part that opens anything.
    request.state.token_prefix = "_".join(credentials.credentials.split("_")[:2])
    return actor


ActorDep = Annotated[Actor, Depends(_actor)]


async def in_one_transaction(
    request: Request, credentials: Credentials, now: datetime, work: Callable[[Session, Actor], _T]
) -> _T:
    """What `work` returns; its transaction has been committed by then.

    The same as a route with `SessionDep` and `ActorDep`, of which each step takes a thread of its own; here one thread
    does all of it, which for a short request is a third of the time.
    """

    def transaction() -> _T:
        with request.app.state.sessions.begin() as session:
            return work(session, _actor(request, session, now, credentials))

    async with request.app.state.seats.taken_by_one():
        return await run_in_threadpool(transaction)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Args:
        after: What identified the last item of the page before, as the cursor carried it; None for the first page.
    """

    limit: int
    after: list[Any] | None

    def after_as(self, *kinds: Callable[[Any], Any]) -> tuple[Any, ...] | None:
        """The cursor's parts, each read by its kind; raises InvalidInput when they do not fit."""
        if self.after is None:
            return None
        try:
            # zip is strict: too few or too many parts are a ValueError too.
            return tuple(kind(part) for kind, part in zip(kinds, self.after, strict=True))
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise _bad_cursor() from None


def _page(
    limit: Annotated[int, Query(ge=1, le=200, description="How many items at most.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=2000, description="`next_cursor` of the page before.")
    ] = None,
) -> Page:
    if cursor is None:
        return Page(limit, None)
    try:
        after = json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, UnicodeEncodeError, RecursionError):
        raise _bad_cursor() from None
    if (
        not isinstance(after, list)
        or "\x00" in json.dumps(after, ensure_ascii=False)
        or "\\u0000" in json.dumps(after)
    ):
        raise _bad_cursor()
    return Page(limit, after)


PageDep = Annotated[Page, Depends(_page)]


def cursor_of(*parts: Any) -> str:
    """An opaque cursor that `Page` reads back."""
    return base64.urlsafe_b64encode(json.dumps(parts, default=str).encode()).decode()


def _bad_cursor() -> InvalidInput:
    return InvalidInput(
        "not a cursor of this list; pass next_cursor of the page before, or none", field="cursor"
    )


def a_time(text: Any) -> datetime:
    """A time out of a cursor."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without zone")
    return time


def a_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    value.encode()
    return value


def a_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError("not a whole number")
    return value
