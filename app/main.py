"""The web composition root: settings in, application out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.api import application
from app.api.bounds import Bounds, RequestBounds
from app.api.context import RequestContext
from app.api.live import Listeners
from app.api.looking import LOOK_SECONDS
from app.api.metrics import RequestMetrics, StateGauges
from app.api.rates import Rates
from app.api.seats import Seats
from app.db import Timeouts, drop_connections, make_engine, make_probe, session_factory
from app.domain.sinks import base_urls
from app.settings import Settings

_log = structlog.get_logger("truerun.api")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service over HTTP.

    Args:
        settings: None reads them from the environment, for servers that take a factory without arguments.

    Raises:
        ValueError: settings has no database_url; `truerun-server up` starts a Postgres and hands its address down.
    """
    settings = settings or Settings()
    if settings.database_url is None:
        raise ValueError("create_app needs settings.database_url")
    release = version("truerun-server")
    engine = make_engine(
        settings.database_url,
        pool_size=settings.database_connections,
        timeouts=Timeouts(
            connection=settings.database_wait_seconds,
            statement=settings.statement_timeout_seconds,
            lock=settings.lock_timeout_seconds,
            idle_transaction=settings.idle_transaction_seconds,
            transaction=settings.transaction_seconds,
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if settings.durability == "waived":
            _log.warning(
                "durability_waived", setting="TRUERUN_DURABILITY", danger="a crash may lose what was stored"
            )
        # Whoever has a connection finds a thread to use it in, and a few are left for what needs none.
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = max(threads.total_tokens, settings.database_connections + 10)
        _log.info("api_started", release=release)
        yield
        # Requests that are still at work have had their time; without their connections they end at once.
        dropped = drop_connections(engine)
        engine.dispose()
        _log.info("api_stopped", broken_off=dropped)

    app = application.build(version=release, lifespan=lifespan)
    registry = CollectorRegistry()
    seats = Seats(settings.database_connections, wait_seconds=settings.database_wait_seconds)
    rates = Rates(
        per_second=settings.rate_limit_per_second,
        burst=settings.rate_limit_burst,
        rejected_per_minute=settings.rejected_tokens_per_minute,
    )
    app.state.engine = engine
    app.state.sessions = session_factory(engine)
    app.state.probe = session_factory(make_probe(settings.database_url, seconds=LOOK_SECONDS))
    app.state.durability_waived = settings.durability == "waived"
    app.state.wandb_base_urls = base_urls(settings.wandb_base_urls)
    # Sinks name variables of the environment; whether one is set may be told, its value never.
    app.state.has_variable = lambda name: bool(os.environ.get(name))
    app.state.seats = seats
    app.state.listeners = Listeners()
    app.state.rates = rates
    app.state.body_seconds = settings.body_seconds
    app.state.registry = registry
    app.state.gauges = StateGauges(registry, seats=seats, version=release)
    # The one added last is the outermost.
    app.add_middleware(RequestBounds, bounds=Bounds(), rates=rates)
    app.add_middleware(RequestContext, metrics=RequestMetrics(registry))
    return app
