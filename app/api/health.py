"""Alive, ready, and what the service says of itself to Prometheus."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from app.api.answers import Answer
from app.api.dependencies import Now, SessionDep, bearer
from app.api.problems import Unauthenticated
from app.api.router import a_router
from app.db import health
from app.domain.access import Role
from app.services import tokens

router = a_router("health")


class HealthAnswer(Answer):
    status: str


class ReadyAnswer(Answer):
    status: str
    problems: list[str]


class StateGauges:
    """What `/metrics` reads from the database when it is asked."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.owed = Gauge("truerun_outbox_owed", "Messages not yet delivered.", registry=registry)
        self.buried = Gauge("truerun_outbox_buried", "Messages given up.", registry=registry)
        self.open_alerts = Gauge("truerun_alerts_open", "Alerts not resolved.", registry=registry)
        self.oldest = Gauge(
            "truerun_outbox_oldest_owed_seconds",
            "Age of the oldest message not delivered.",
            registry=registry,
        )


@router.get("/healthz")
def is_alive() -> HealthAnswer:
    """The process answers."""
    return HealthAnswer(status="ok")


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
def is_ready(session: SessionDep, response: Response) -> ReadyAnswer:
    """The database answers, has this release's schema, and keeps what it acknowledges."""
    problems = health.problems(session)
    if problems:
        response.status_code = 503
    return ReadyAnswer(status="not ready" if problems else "ready", problems=problems)


@router.get("/metrics", response_class=PlainTextResponse)
def show_metrics(
    request: Request,
    session: SessionDep,
    now: Now,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Response:
    """Prometheus; without a token only from this machine, else with an admin's."""
    if not _is_local(request):
        actor = tokens.authenticate(session, credentials.credentials, now=now) if credentials else None
        if actor is None or actor.role is not Role.ADMIN:
            raise Unauthenticated("from another machine /metrics needs an admin token")
    state: StateGauges = request.app.state.gauges
    counts = health.counts(session, now=now)
    state.owed.set(counts.owed)
    state.buried.set(counts.buried)
    state.open_alerts.set(counts.open_alerts)
    state.oldest.set(counts.oldest_owed_seconds)
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def _is_local(request: Request) -> bool:
    # Behind a proxy every peer looks local; a proxy says so with this header, and then a token is asked for.
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
