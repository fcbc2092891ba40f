"""Runs: the handshake of a training job, lists, edits, validity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request, Response

from app.api.answers import LimitsAnswer, Listing, OpenedRunAnswer, RunAnswer, listing
from app.api.bodies import MAX_BODY_BYTES
from app.api.dependencies import ActorDep, NewId, Now, PageDep, SessionDep, cursor_of
from app.api.router import a_router
from app.api.schemas import EditRunBody, Invalidation, OpenRunBody, StopRunBody, Verification
from app.api.texts import checked_text
from app.db import Session, projects, series
from app.db.run_lists import CONFIG_PREFIX, RunFilter
from app.db.runs import RunRow
from app.domain.access import Action
from app.domain.evaluations import Validity
from app.domain.history import Summary, folded
from app.domain.record import number_to_json
from app.services import runs, validity
from app.services.posted import MAX_VALUES

router = a_router("runs")


@router.put("/projects/{project}/runs/{run_key}", responses={201: {"model": OpenedRunAnswer}})
def open_run(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    run_key: str,
    body: OpenRunBody,
    request: Request,
    response: Response,
    now: Now,
    new_id: NewId,
) -> OpenedRunAnswer:
    """Create or reattach. The same attempt_id is the same attempt, however often it is sent.

    The run token in the answer appends to this run and does nothing else; it is what a rented host should hold.
    """
    opened = runs.open_run(
        session,
        actor,
        project_key=project,
        run_key=run_key,
        request=runs.OpenRun(
            attempt_id=body.attempt_id,
            role=runs.OpenRole(body.role),
            name=body.name,
            config=body.config,
            run_group=body.run_group,
            tags=tuple(body.tags),
            notes=body.notes,
            seed=body.seed,
            split_seeded=body.split_seeded,
            git_commit=body.git_commit,
            environment=body.environment,
            resume_step=body.resume_step,
        ),
        now=now,
        new_id=new_id,
    )
    response.status_code = 201 if opened.created else 200
    return OpenedRunAnswer(
        run_id=opened.run_id,
        run_key=opened.key,
        project=project,
        attempt=opened.attempt,
        run_token=opened.run_token,
        limits=_limits(request),
        server_time=now,
    )


def _limits(request: Request) -> LimitsAnswer:
    rate = request.app.state.rates.tokens
    return LimitsAnswer(
        body_bytes=MAX_BODY_BYTES,
        values_per_evaluation=MAX_VALUES,
        requests_per_second=None if rate is None else rate.per_second,
        requests_at_once=None if rate is None else rate.burst,
    )


@router.get("/projects/{project}/runs")
def list_runs(
    session: SessionDep,
    actor: ActorDep,
    project: str,
    request: Request,
    page: PageDep,
    key: str | None = None,
    status: str | None = None,
    tag: Annotated[list[str], Query()] = [],  # noqa: B006  FastAPI copies it
    run_group: str | None = None,
    validity: Literal["valid", "suspect", "invalid"] | None = None,
    archived: Literal["true", "false", "all"] = "false",
    sort: Annotated[
        str,
        Query(
            description="created_at, updated_at, name, key, config.<key>, or first:, last:, min:, max:<metric>; "
            "`-` descends."
        ),
    ] = ("-created_at"),
    group: Annotated[str, Query(max_length=256, description="Of the metric that is sorted by.")] = "",
    metric: Annotated[
        list[str], Query(description="Metrics whose summaries to show with each run.", max_length=20)
    ] = [],  # noqa: B006  FastAPI copies it
) -> Listing[RunAnswer]:
    """A project's runs; `config.<key>=value` filters by configuration."""
    config = {
        name.removeprefix(CONFIG_PREFIX): value
        for name, value in request.query_params.items()
        if name.startswith(CONFIG_PREFIX)
    }
    where = RunFilter(
        key=key,
        status=status,
        tags=tuple(tag),
        run_group=run_group,
        validity=validity,
        archived=None if archived == "all" else archived == "true",
        config=config,
    )
    found = runs.list_runs(
        session,
        actor,
        project_key=project,
        where=where,
        sort=sort,
        group=group,
        limit=page.limit,
        after=page.after,
    )
    told: dict[UUID, dict[str, list[Summary]]] = {}
    if metric and found.items:
        told = series.summaries_of_runs(
            session,
            project_id=found.items[0].project_id,
            run_ids=[row.id for row in found.items],
            names=[checked_text(name, "metric") for name in metric],
        )
    following = None if found.next_after is None else cursor_of(*found.next_after)
    return listing([_answer(row, project, told.get(row.id)) for row in found.items], following)


@router.get("/runs/{run_id}")
def show_run(session: SessionDep, actor: ActorDep, run_id: UUID) -> RunAnswer:
    return _answered(session, runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ))


@router.patch("/runs/{run_id}")
def edit_run(session: SessionDep, actor: ActorDep, run_id: UUID, body: EditRunBody, now: Now) -> RunAnswer:
    """Change name, tags, notes or status; what is not sent stays."""
    changes = runs.EditRun(
        name=body.name,
        tags=None if body.tags is None else tuple(body.tags),
        notes=body.notes,
        status=None if body.status is None else runs.Status(body.status),
    )
    return _answered(session, runs.edit_run(session, actor, run_id=run_id, changes=changes, now=now))


@router.post("/runs/{run_id}/stop")
def stop_run(session: SessionDep, actor: ActorDep, run_id: UUID, body: StopRunBody, now: Now) -> RunAnswer:
    """Ask the training to end. It hears of it with its next records and decides itself; nothing is killed."""
    row = runs.request_stop(session, actor, run_id=run_id, wanted=body.stop, now=now)
    return _answered(session, row)


@router.delete("/runs/{run_id}")
def archive_run(session: SessionDep, actor: ActorDep, run_id: UUID, now: Now) -> RunAnswer:
    """Take a run off lists and leaderboards; never a champion's."""
    return _answered(session, runs.archive_run(session, actor, run_id=run_id, now=now))


@router.post("/runs/{run_id}/invalidate")
def invalidate_run(
    session: SessionDep, actor: ActorDep, run_id: UUID, body: Invalidation, now: Now
) -> RunAnswer:
    """Nothing of the run is believed any more: it leaves leaderboards and baselines, its gates close."""
    mark = Validity.SUSPECT if body.suspect else Validity.INVALID
    row = validity.mark_run(session, actor, run_id=run_id, mark=mark, reason=body.reason, now=now)
    return _answered(session, row)


@router.post("/runs/{run_id}/restore")
def restore_run(
    session: SessionDep, actor: ActorDep, run_id: UUID, body: Verification, now: Now
) -> RunAnswer:
    """Give back validity, never the crown."""
    row = validity.mark_run(session, actor, run_id=run_id, mark=Validity.VALID, reason=body.reason, now=now)
    return _answered(session, row)


def _answered(session: Session, row: RunRow) -> RunAnswer:
    project = projects.by_id(session, row.project_id)
    return _answer(row, project.key if project else "")


def _answer(row: RunRow, project: str, metrics: Mapping[str, list[Summary]] | None = None) -> RunAnswer:
    return RunAnswer(
        run_id=row.id,
        key=row.key,
        project=project,
        name=row.name,
        run_group=row.run_group,
        status=row.status,
        config=dict(row.config),
        tags=row.tags,
        notes=row.notes,
        seed=row.seed,
        split_seeded=row.split_seeded,
        git_commit=row.git_commit,
        environment=dict(row.environment),
        attempt=row.newest_attempt,
        validity=row.validity,
        validity_reason=row.validity_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        archived_at=row.archived_at,
        summary=dict(row.summary),
        stop_requested=row.stop_requested,
        metrics={name: _numbers_of(folded(parts)) for name, parts in (metrics or {}).items()},
    )


def _numbers_of(summary: Summary) -> dict[str, Any]:
    return {
        "count": summary.count,
        "first": number_to_json(summary.first_value),
        "last": number_to_json(summary.last_value),
        "min": summary.min_value,
        "max": summary.max_value,
    }
