"""New points as they arrive: a short look at the database each second, and no connection held in between."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import anyio
import msgspec
import numpy as np
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.api.formats.csv_text import number_word
from app.api.problems import Unavailable
from app.db import SessionFactory, histories, runs, series
from app.db.runs import RunRow
from app.db.series import SeriesFilter
from app.domain.liveness import Status
from app.services.histories import MOST_SERIES_AT_ONCE

_EVERY_SECONDS = 1.0
_SILENCE_SECONDS = 15.0
_MOST_LISTENERS = 100
_PLACE = re.compile(r"(?:[0-9a-f-]{36}:\d{1,19})(?:,[0-9a-f-]{36}:\d{1,19}){0,999}")


@dataclass(slots=True)
class Listeners:
    """How many listen to this process."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class _News:
    """What came since the last look, where every stream stands now, and whether no more will come."""

    points: list[dict[str, object]]
    place: dict[UUID, int]
    is_over: bool


async def live_tail(
    request: Request, run: RunRow, where: SeriesFilter, last_event_id: str | None, *, seconds: float
) -> AsyncIterator[bytes]:
    """Server-sent events: `points` with an id to go on from, `end`; a comment now and then while nothing happens."""
    listeners: Listeners = request.app.state.listeners
    if listeners.count >= _MOST_LISTENERS:
        raise Unavailable(f"{_MOST_LISTENERS} listen already; ask for the history instead", cause="busy")
    sessions: SessionFactory = request.app.state.sessions
    listeners.count += 1
    try:
        place = _place_of(last_event_id)
        quiet = _SILENCE_SECONDS
        until = anyio.current_time() + seconds
        while not await request.is_disconnected():
            news = await run_in_threadpool(_look, sessions, run, where, place)
            if news.points:
                yield _event("points", {"series": news.points}, news.place)
                quiet = 0.0
            place = news.place
            if news.is_over:
                yield _event("end", {}, news.place)
                return
            if anyio.current_time() >= until:
                return
            if quiet >= _SILENCE_SECONDS:
                yield b": alive\n\n"
                quiet = 0.0
            await anyio.sleep(_EVERY_SECONDS)
            quiet += _EVERY_SECONDS
    finally:
        listeners.count -= 1


def _look(sessions: SessionFactory, run: RunRow, where: SeriesFilter, place: dict[UUID, int] | None) -> _News:
    with sessions.begin() as session:
        rows = series.streams_of(session, project_id=run.project_id, run_id=run.id)
        now = {row["id"]: int(row["next_idx"]) for row in rows}
        row = runs.by_id(session, run.id)
        is_over = row is None or not Status(row.status).is_open
        # Whoever comes without a place sees what comes from now on.
        since = now if place is None else place
        moved = {stream: since.get(stream, 0) for stream, idx in now.items() if idx > since.get(stream, 0)}
        if not moved:
            return _News([], now, is_over)
        found = dict(
            series.find(
                session,
                project_id=run.project_id,
                run_id=run.id,
                where=where,
                limit=MOST_SERIES_AT_ONCE,
            )
        )
        pieces = histories.pieces_since(
            session, project_id=run.project_id, run_id=run.id, series_ids=sorted(found), since=moved
        )
    points: list[dict[str, object]] = []
    for piece in pieces:
        what = found[piece.series_id]
        values: list[object] = piece.values.tolist()
        for i in np.flatnonzero(~np.isfinite(piece.values)):
            values[i] = number_word(float(piece.values[i]))
        points.append(
            {
                "metric": what.name,
                "group": what.group or None,
                "stage": what.stage or None,
                "split": what.split or None,
                "rank": what.rank,
                "attempt": piece.attempt,
                "steps": piece.steps.tolist(),
                "times": piece.times.tolist(),
                "values": values,
            }
        )
    return _News(points, now, is_over)


def _event(kind: str, document: dict[str, object], place: dict[UUID, int]) -> bytes:
    where = ",".join(f"{stream}:{idx}" for stream, idx in place.items())
    data = msgspec.json.encode(document) if document else json.dumps({}).encode()
    return f"id: {where}\nevent: {kind}\ndata: ".encode() + data + b"\n\n"


def _place_of(text: str | None) -> dict[UUID, int] | None:
    """Where a listener was; None when it says nothing that can be read."""
    if text is None or not _PLACE.fullmatch(text):
        return None
    try:
        return {UUID(part[:36]): int(part[37:]) for part in text.split(",")}
    except ValueError:
        return None
