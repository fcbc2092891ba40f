"""Where a project's verdicts go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from app.api.dependencies import ActorDep, Now, SessionDep
from app.api.router import a_router
from app.api.schemas import Key, SinksBody
from app.api.sink_answers import (
    DeliveryAnswer,
    PauseAnswer,
    SecretAnswer,
    SinkAnswer,
    SinksAnswer,
    delivery_answer,
)
from app.domain.sinks import secret_env
from app.services import sinks
from app.services.sinks import KnownSink, WantedSink

router = a_router("sinks")


async def _has_variable(request: Request) -> Callable[[str], bool]:
    has_variable: Callable[[str], bool] = request.app.state.has_variable
    return has_variable


async def _wandb_base_urls(request: Request) -> Collection[str]:
    urls: Collection[str] = request.app.state.wandb_base_urls
    return urls


HasVariable = Annotated[Callable[[str], bool], Depends(_has_variable)]
WandbBaseUrls = Annotated[Collection[str], Depends(_wandb_base_urls)]


@router.get("/projects/{project}/sinks")
def list_sinks(
    session: SessionDep, actor: ActorDep, project: str, now: Now, has_variable: HasVariable
) -> SinksAnswer:
    """Where verdicts go, and how each receiver is doing: what is owed, since when, the last error, a pause."""
    known = sinks.list_sinks(session, actor, project_key=project)
    return SinksAnswer(sinks=[_answer(each, now, has_variable) for each in known])


@router.put("/projects/{project}/sinks")
def put_sinks(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    body: SinksBody,
    now: Now,
    has_variable: HasVariable,
    wandb_base_urls: WandbBaseUrls,
) -> SinksAnswer:
    """Set all the sinks; one that is not named is removed, and what was owed to it is dropped.

    A sink that is enabled starts from now and is told every leaderboard once. Settings by kind, with their defaults:

    - `log`: none.
    - `wandb`: `project`; `entity` (the key's own), `mode` (`online`, `offline`, `disabled`), `base_url`
      (`https://api.wandb.ai`; others as the server allows), `key_env` (`WANDB_API_KEY`).
    - `apprise`: `url_env`; `routes` (none: every alert), `cooldown_minutes` (60), `digest_from` (5).
    - `webhook`: `url`, `secret_env`; `routes`.

    A route is `{"levels": [...], "kinds": [...], "suites": [...], "groups": [...]}`, what is left out wants all.
    Secrets stand in environment variables of the server, called `WANDB_API_KEY` or `TRUERUN_SECRET_…`.
    """
    known = sinks.put_sinks(
        session,
        actor,
        project_key=project,
        wanted=[
            WantedSink(name=each.name, kind=each.kind, enabled=each.enabled, settings=each.settings)
            for each in body.sinks
        ],
        wandb_base_urls=wandb_base_urls,
        now=now,
    )
    return SinksAnswer(sinks=[_answer(each, now, has_variable) for each in known])


@router.post("/projects/{project}/sinks/{sink}/test")
def test_sink(session: SessionDep, actor: ActorDep, project: str, sink: Key, now: Now) -> DeliveryAnswer:
    """Send the sink one message that says that it is a test, before all else that it is owed; a pause is over.

    It is tried once, by the worker: `…/deliveries?sink=…&topic=sink.tested` shows what became of it, `delivered` with
    the receiver's `receipt` or `buried` with `last_error`.
    """
    return delivery_answer(sinks.test_sink(session, actor, project_key=project, name=sink, now=now))


def _answer(known: KnownSink, now: datetime, has_variable: Callable[[str], bool]) -> SinkAnswer:
    row, state = known.row, known.state
    variable = secret_env(row.kind, row.settings)
    paused, waits_since = None, state.oldest_owed_at
    if row.paused_until is not None and row.paused_until > now:
        paused = PauseAnswer(until=row.paused_until, because=row.paused_because)
    return SinkAnswer(
        name=row.name,
        kind=row.kind,
        enabled=row.enabled,
        settings=dict(row.settings),
        secret=None if variable is None else SecretAnswer(variable=variable, is_set=has_variable(variable)),
        paused=paused,
        owed=state.owed,
        failing=state.failing,
        buried=state.buried,
        lag_seconds=0.0 if waits_since is None else max(0.0, (now - waits_since).total_seconds()),
        last_delivered_at=state.last_delivered_at,
        last_error=state.last_error,
        created_at=row.created_at,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )
