"""A run's history: summaries, curves, what happened, and whether every record arrived."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import numpy as np
from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from app.api.answers import Listing, listing
from app.api.dependencies import ActorDep, PageDep, SessionDep, a_text, a_time, a_whole, cursor_of
from app.api.formats.csv_text import number_word
from app.api.history_answers import (
    AttemptAnswer,
    MetricAnswer,
    RunEventAnswer,
    StreamAnswer,
    StreamsAnswer,
)
from app.api.live import live_tail
from app.api.router import a_router
from app.api.texts import checked_text
from app.db import series
from app.db.series import SeriesFilter
from app.domain.access import Action
from app.domain.history import Series, Summary, cuts, folded
from app.errors import InvalidInput
from app.services import histories, runs
from app.services.curves import Curve

router = a_router("history")
_GAPS_SHOWN = 1000
_SCREEN = 2000

Metrics = Annotated[list[str], Query(description="Names of metrics.", max_length=100)]
Dimension = Annotated[str | None, Query(max_length=256)]


def _filter(
    names: list[str] | None,
    group: str | None,
    stage: str | None,
    split: str | None,
    rank: int | None,
    prefix: str | None = None,
) -> SeriesFilter:
    return SeriesFilter(
        names=None if names is None else tuple(checked_text(name, "metric") for name in names),
        prefix=None if prefix is None else checked_text(prefix, "prefix"),
        group=None if group is None else checked_text(group, "group"),
        stage=None if stage is None else checked_text(stage, "stage"),
        split=None if split is None else checked_text(split, "split"),
        rank=rank,
    )


@router.get("/runs/{run_id}/metrics")
def list_metrics(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    page: PageDep,
    metric: Annotated[list[str] | None, Query(description="Names of metrics.", max_length=100)] = None,
    prefix: Dimension = None,
    group: Dimension = None,
    stage: Dimension = None,
    split: Dimension = None,
    rank: int | None = None,
    per: Literal["run", "attempt"] = "run",
) -> Listing[MetricAnswer]:
    """What each series came to: count, first, last, lowest and highest, without looking through the history.

    A run's attempts are folded: each counts up to the step at which a later one took over. `per=attempt` shows them one
    by one.
    """
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    after = page.after_as(a_text, a_text, a_text, a_text, a_whole)
    found = series.find(
        session,
        project_id=run.project_id,
        run_id=run.id,
        where=_filter(metric, group, stage, split, rank, prefix),
        limit=page.limit + 1,
        after=None if after is None else Series(*after),
    )
    shown = found[: page.limit]
    told = series.summaries_of(
        session, project_id=run.project_id, run_id=run.id, ids=[series_id for series_id, _ in shown]
    )
    items = []
    for series_id, what in shown:
        parts = told.get(series_id, [])
        if per == "attempt":
            items += [_metric(what, summary, number) for number, summary in parts]
        elif parts:
            items.append(_metric(what, folded([summary for _, summary in parts]), None))
    return listing(items, cursor_of(*shown[-1][1]) if len(found) > page.limit else None)


def _metric(what: Series, summary: Summary, number: int | None) -> MetricAnswer:
    return MetricAnswer(
        metric=what.name,
        group=what.group or None,
        stage=what.stage or None,
        split=what.split or None,
        rank=what.rank,
        attempt=number,
        count=summary.count,
        non_finite=summary.non_finite,
        first=summary.first_value,
        first_step=summary.first_step,
        last=summary.last_value,
        last_step=summary.last_step,
        min=summary.min_value,
        min_step=summary.min_step,
        max=summary.max_value,
        max_step=summary.max_step,
    )


@router.get(
    "/runs/{run_id}/history",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/csv": {"schema": {"type": "string"}},
            }
        }
    },
)
def show_history(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    metric: Metrics,
    group: Dimension = None,
    stage: Dimension = None,
    split: Dimension = None,
    rank: int | None = None,
    from_step: Annotated[int | None, Query(ge=-(2**63), lt=2**63)] = None,
    to_step: Annotated[int | None, Query(ge=-(2**63), lt=2**63)] = None,
    attempt: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    max_points: Annotated[
        str, Query(description="Points a series at most, from 8 to 100000; `all` for every single one.")
    ] = str(_SCREEN),
    format: Literal["json", "csv"] = "json",  # noqa: A002  the query's name
) -> Response:
    """Points of several metrics, each in the order of its steps.

    More than `max_points` are thinned: of every stretch the lowest and highest finite value, and one that is not
    finite, stay. Attempts are laid one after the other, each up to the step at which a later one took over; `attempt`
    shows one as it was logged.
    """
    run, curves = histories.curves_of(
        session,
        actor,
        run_id=run_id,
        where=_filter(metric, group, stage, split, rank),
        from_step=from_step,
        to_step=to_step,
        attempt=attempt,
        most=_most(max_points),
    )
    if format == "csv":
        return Response(_csv(curves), media_type="text/csv", headers={"X-Content-Type-Options": "nosniff"})
    document = {"run_id": run.id, "run": run.key, "series": [_curve(curve) for curve in curves]}
    return Response(msgspec.json.encode(document), media_type="application/json")


def _most(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdecimal() and text.isascii() and 8 <= int(text[:7]) <= 100_000 and len(text) <= 6:
        return int(text)
    raise InvalidInput("must be a whole number from 8 to 100000, or all", field="max_points")


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "metric": curve.series.name,
        "group": curve.series.group or None,
        "stage": curve.series.stage or None,
        "split": curve.series.split or None,
        "rank": curve.series.rank,
        "count": curve.count,
        "thinned": curve.is_thinned,
        "attempts": _runs_of(curve.attempts),
        "steps": curve.steps.tolist(),
        "times": curve.times.tolist(),
        "values": _numbers(curve.values),
    }


def _runs_of(attempts: NDArray[np.int64]) -> list[dict[str, int]]:
    """Where each attempt's points begin, as it is only ever a few."""
    if not len(attempts):
        return []
    starts = np.concatenate([[0], np.flatnonzero(np.diff(attempts)) + 1])
    return [{"attempt": int(attempts[start]), "from": int(start)} for start in starts]


def _numbers(values: NDArray[np.float64]) -> list[Any]:
    listed: list[Any] = values.tolist()
    for i in np.flatnonzero(~np.isfinite(values)):
        listed[i] = number_word(listed[i])
    return listed


def _csv(curves: Iterable[Curve]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "group", "stage", "split", "rank", "attempt", "step", "time", "value"])
    for curve in curves:
        what = curve.series
        texts = [_guarded(text) for text in (what.name, what.group, what.stage, what.split)]
        for number, step, time, value in zip(
            curve.attempts.tolist(),
            curve.steps.tolist(),
            curve.times.tolist(),
            _numbers(curve.values),
            strict=True,
        ):
            writer.writerow([*texts, what.rank, number, step, repr(time), value])
    return out.getvalue()


def _guarded(text: str) -> str:
    # A spreadsheet takes a cell that begins so for a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


@router.get("/runs/{run_id}/live", response_class=StreamingResponse)
def follow_run(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    request: Request,
    metric: Metrics,
    group: Dimension = None,
    for_seconds: Annotated[
        float, Query(ge=0, le=86_400, description="How long to listen; then come again.")
    ] = 3600.0,
) -> StreamingResponse:
    """New points as they arrive, as server-sent events of the form of `history`; `Last-Event-ID` goes on from there.

    The stream ends with the event `end` when the run has ended. A point may come twice after a reconnection.
    """
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    events: AsyncIterator[bytes] = live_tail(
        request,
        run,
        _filter(metric, group, None, None, None),
        request.headers.get("last-event-id"),
        seconds=for_seconds,
    )
    return StreamingResponse(
        events,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/runs/{run_id}/attempts")
def list_attempts(session: SessionDep, actor: ActorDep, run_id: UUID) -> Listing[AttemptAnswer]:
    """Each start of the training, by number; `cut` is the step at which a later one took over."""
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    rows = series.attempts_of(session, project_id=run.project_id, run_id=run.id)
    limits = cuts([(row.number, row.began) for row in rows])
    return listing(
        [
            AttemptAnswer(
                attempt=row.number,
                attempt_id=row.attempt_id,
                status=row.status,
                started_at=row.started_at,
                heartbeat_at=row.heartbeat_at,
                ended_at=row.ended_at,
                error=row.error,
                exit_code=row.exit_code,
                resume_step=row.resume_step,
                first_step=row.first_step,
                cut=limits[row.number],
            )
            for row in rows
        ],
        None,
    )


@router.get("/runs/{run_id}/streams")
def list_streams(session: SessionDep, actor: ActorDep, run_id: UUID) -> StreamsAnswer:
    """The books: of what each writer has logged, how much is stored, rejected, lost or still on its way."""
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    rows = series.streams_of(session, project_id=run.project_id, run_id=run.id)
    gaps = series.gaps_of(session, project_id=run.project_id, run_id=run.id, limit=_GAPS_SHOWN)
    return StreamsAnswer(
        items=[
            StreamAnswer(
                stream_id=row["id"],
                attempt=row["attempt"],
                role=row["role"],
                rank=row["rank"],
                logged=row["logged"],
                stored=row["stored"],
                rejected=row["rejected"],
                gaps=row["gaps"],
                in_flight=row["logged"] - row["next_idx"],
                dropped=row["dropped"],
                lost=[
                    {"first": gap["first"], "until": gap["until"], "reason": gap["reason"]}
                    for gap in gaps
                    if gap["stream_id"] == row["id"]
                ],
                created_at=row["created_at"],
                last_seen_at=row["last_seen_at"],
            )
            for row in rows
        ]
    )


@router.get("/runs/{run_id}/events")
def list_events(
    session: SessionDep,
    actor: ActorDep,
    run_id: UUID,
    page: PageDep,
    kind: Annotated[str | None, Query(max_length=256)] = None,
) -> Listing[RunEventAnswer]:
    """What happened, newest first."""
    run = runs.run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    after = page.after_as(a_time, lambda value: UUID(a_text(value)), a_whole)
    rows = series.events_of(
        session,
        project_id=run.project_id,
        run_id=run.id,
        kind=None if kind is None else checked_text(kind, "kind"),
        limit=page.limit + 1,
        after=None if after is None else (after[0], after[1], after[2]),
    )
    shown = rows[: page.limit]
    following = None
    if len(rows) > page.limit:
        last = shown[-1]
        at: datetime = last["at"]
        following = cursor_of(at.isoformat(), last["stream_id"], last["idx"])
    return listing(
        [
            RunEventAnswer(
                at=row["at"],
                attempt=row["attempt"],
                step=row["step"],
                kind=row["kind"],
                level=row["level"],
                title=row["title"],
                detail=row["detail"],
            )
            for row in shown
        ],
        following,
    )
