"""Alive, ready, and what the service says of itself to Prometheus."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.answers import Answer
from app.api.dependencies import Now, bearer
from app.api.looking import look
from app.api.metrics import StateGauges
from app.api.problems import Unauthenticated
from app.api.router import a_router
from app.db import Session, health
from app.db.faults import DatabaseError
from app.db.health import KindCounts
from app.db.readiness import Readiness, readiness
from app.domain.access import Role
from app.services import tokens

router = a_router("health")
_log = structlog.get_logger("truerun.api")


class HealthAnswer(Answer):
    status: str


class ConnectionsAnswer(Answer):
    most: int
    in_use: int
    waited_for: int


class SinkKindAnswer(Answer):
    """Of all sinks of the kind that are enabled; `paused`: how many of them take nothing for now."""

    kind: str
    owed: int
    buried: int
    paused: int
    oldest_owed_seconds: float


class ReadyAnswer(Answer):
    status: str
    problems: list[str]
    warnings: list[str]
    schema_revision: str | None
    connections: ConnectionsAnswer
    outbox_oldest_owed_seconds: float | None
    sinks: list[SinkKindAnswer]


@router.get("/healthz")
async def is_alive() -> HealthAnswer:
    """The process answers."""
    return HealthAnswer(status="ok")


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
async def is_ready(request: Request, response: Response, now: Now) -> ReadyAnswer:
    """The database answers, has a schema that fits, takes writes, and keeps what was acknowledged; within 2 s."""

    def examine(session: Session) -> tuple[Readiness, list[KindCounts]]:
        found = readiness(session, durability_waived=request.app.state.durability_waived)
        # Without a schema that fits there is nothing to count, and a server that stands by may not be asked for it.
        return found, [] if found.problems else health.counts_by_kind(session, now=now)

    sinks: list[KindCounts] = []
    try:
        found, sinks = await look(request.app, examine)
    except TimeoutError:
        found = Readiness(problems=["the database does not answer in time; look at Postgres and its load"])
    except DatabaseError as error:
        # The driver's own words name host and user, which are for the log only.
        _log.warning("database_unreachable", error=str(getattr(error, "orig", None) or error))
        found = Readiness(problems=["the database cannot be reached; the log of the service says why"])
    if found.problems:
        response.status_code = 503
        _log.warning("not_ready", problems=found.problems)
    seats = request.app.state.seats
    return ReadyAnswer(
        status="not ready" if found.problems else "ready",
        problems=found.problems,
        warnings=found.warnings,
        schema_revision=found.schema,
        connections=ConnectionsAnswer(most=seats.count, in_use=seats.taken, waited_for=seats.waiting),
        outbox_oldest_owed_seconds=max((each.oldest_owed_seconds for each in sinks), default=None),
        sinks=[SinkKindAnswer(**asdict(each)) for each in sinks],
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def show_metrics(
    request: Request,
    now: Now,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Response:
    """Prometheus; without a token only from this machine, else with an admin's."""
    is_local = _is_local(request)
    secret = None if credentials is None else credentials.credentials
    if not is_local and secret is None:
        raise Unauthenticated(_ADMINS_ONLY)

    def read(session: Session) -> tuple[bool, health.Counts]:
        actor = tokens.authenticate(session, secret, now=now) if secret and not is_local else None
        return is_local or (actor is not None and actor.role is Role.ADMIN), health.counts(session, now=now)

    counts = None
    try:
        is_allowed, counts = await look(request.app, read)
    except (TimeoutError, *DatabaseError):
        # The numbers of the process are wanted most when the database is away.
        is_allowed = is_local
    if not is_allowed:
        raise Unauthenticated(_ADMINS_ONLY)
    gauges: StateGauges = request.app.state.gauges
    gauges.note(counts)
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


_ADMINS_ONLY = "from another machine /metrics needs an admin token"


def _is_local(request: Request) -> bool:
    # Behind a proxy every peer looks local; a proxy says so with this header, and then a token is asked for.
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
