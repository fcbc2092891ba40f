"""The web composition root: settings in, application out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.api import application
from app.api.context import RequestContext, RequestMetrics
from app.api.health import StateGauges
from app.db import make_engine, session_factory
from app.settings import Settings


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
    engine = make_engine(settings.database_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.dispose()

    app = application.build(version=version("truerun-server"), lifespan=lifespan)
    registry = CollectorRegistry()
    app.state.engine = engine
    app.state.sessions = session_factory(engine)
    app.state.registry = registry
    app.state.gauges = StateGauges(registry)
    app.add_middleware(RequestContext, metrics=RequestMetrics(registry))
    return app
