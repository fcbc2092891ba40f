"""The FastAPI application: every router, one way to answer errors, the description at /docs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from app.api import (
    alerts,
    baselines,
    compare,
    deliveries,
    evaluations,
    exchange,
    health,
    history,
    images,
    leaderboards,
    policies,
    problems,
    projects,
    records,
    retention,
    runs,
    sinks,
    suites,
    tokens,
    training_tables,
)

_PREFIX = "/api/v1"
_DESCRIPTION = """
Truerun decides whether a training run's result is true: better than the champion in every group that matters,
physically sound, honestly obtained.

Send a token with every request: `Authorization: Bearer trn_…`. Errors are RFC 9457 problem details that name the
field and the way out. Non-finite numbers travel as the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
"""


def build(*, version: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The application without its state; `app.main` gives it sessions and gauges."""
    app = FastAPI(
        title="Truerun",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(health.router)
    for module in (
        tokens,
        projects,
        # Before runs: `/projects/{project}/runs.csv` would otherwise never be reached.
        exchange,
        runs,
        suites,
        evaluations,
        records,
        history,
        training_tables,
        images,
        policies,
        baselines,
        leaderboards,
        compare,
        alerts,
        sinks,
        deliveries,
        retention,
    ):
        app.include_router(module.router, prefix=_PREFIX)
    return app
