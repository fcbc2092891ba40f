"""Taking records of a run's history: each exactly once, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.db import Session, attempts, choices, images, outbox, points, runs, streams, summaries
from app.db.runs import RunRow
from app.db.streams import StreamRow
from app.domain.access import Action, Actor, require
from app.domain.alerts import AlertKind, Level
from app.domain.batches import BatchDocument, read_batch
from app.domain.history import MOST_METRICS, MOST_SERIES, Batch, Block, Event, Finish, Series
from app.domain.images import MOST_IMAGES
from app.domain.liveness import Status
from app.errors import Conflict, InvalidInput, NotFound, OutOfOrder
from app.services import announcements, liveness, training_limits
from app.services.documents import storable
from app.services.run_alerts import raise_alert
from app.services.runs import run_for

# How often it is worth writing down that an attempt lives; far below what makes it stale.
_HEARTBEAT_EVERY = timedelta(seconds=5)
ROLES = ("train", "attach")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a batch.

    Args:
        next_idx: Every record below is settled for good.
        rejected: Of the records sent, those that were not stored, now or before, with their codes.
        stop: Whether somebody asked the training to end.
    """

    next_idx: int
    rejected: Mapping[int, str]
    stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A block that has just been stored, with its series' ids in the order of its rows."""

    block: Block
    ids: NDArray[np.int64]


def take_records(
    session: Session,
    actor: Actor,
    *,
    run_id: UUID,
    stream_id: UUID,
    document: BatchDocument,
    now: datetime,
) -> Taken:
    """Store a batch; what is known already is skipped, so it may be sent again and cut anew.

    Locks: the run where its state changes, the stream, then what `liveness` and alerts need.

    Raises:
        OutOfOrder: Records before the batch are missing.
        Conflict: The stream is another attempt's, or the run is archived.
        InvalidInput: The batch does not fit together.
        NotFound: No such run.
    """
    batch = read_batch(document)
    if document.role not in ROLES:
        raise InvalidInput(f"can be {' or '.join(ROLES)}", field="role")
    if batch.needs_run:
        # Before the stream, as everybody who locks both does.
        found = run_for(session, actor, run_id=run_id, action=Action.RECORDS_APPEND)
        runs.lock(session, project_id=found.project_id, run_id=found.id)
    row = streams.lock(session, run_id=run_id, stream_id=stream_id)
    if row is None:
        row = _opened(session, actor, run_id, stream_id, document, now)
    require(actor, Action.RECORDS_APPEND, project=row.project_id, run=row.run_id)
    _check_stream(row, document)
    if batch.first > row.next_idx:
        raise OutOfOrder(
            f"records {row.next_idx} to {batch.first - 1} of this stream have to come first; send from "
            f"{row.next_idx} on, or say in a gap why they will not come",
            expected=row.next_idx,
        )
    rejected: dict[int, str] = {}
    if batch.first < row.next_idx:
        rejected = streams.rejects_between(session, row, batch.first, min(batch.until, row.next_idx))
    fresh = _store(session, row, batch.since(row.next_idx), now)
    rejected |= fresh.rejected
    return Taken(next_idx=max(row.next_idx, batch.until), rejected=rejected, stop=row.stop_requested)


def _opened(
    session: Session, actor: Actor, run_id: UUID, stream_id: UUID, document: BatchDocument, now: datetime
) -> StreamRow:
    run = run_for(session, actor, run_id=run_id, action=Action.RECORDS_APPEND)
    number: int | None = run.newest_attempt
    if document.attempt_id is not None:
        number = runs.attempt_number(
            session, project_id=run.project_id, run_id=run.id, attempt_id=_attempt_id(document.attempt_id)
        )
    # Whoever attaches has drawn an id of its own, which names no attempt.
    if number is None and document.role == "attach":
        number = run.newest_attempt
    if number is None:
        raise InvalidInput(
            f"run {run.key} has no attempt {document.attempt_id}; open it first", field="attempt_id"
        )
    streams.open_stream(
        session,
        project_id=run.project_id,
        run_id=run.id,
        stream_id=stream_id,
        attempt=number,
        role=document.role,
        rank=document.rank,
        now=now,
    )
    row = streams.lock(session, run_id=run_id, stream_id=stream_id)
    if row is None:
        raise LookupError(f"stream {stream_id} was made and is not there")
    return row


def _check_stream(row: StreamRow, document: BatchDocument) -> None:
    if row.is_archived:
        raise Conflict(f"run {row.run_key} is archived; use another run key")
    if (row.role, row.rank) != (document.role, document.rank):
        raise Conflict(
            f"stream {row.id} is that of a {row.role} writer of rank {row.rank}; a new writer draws a new stream id",
            field="role",
        )
    said = None if document.attempt_id is None else _attempt_id(document.attempt_id)
    if said is not None and row.role == "train" and said != row.attempt_id:
        raise Conflict(
            f"stream {row.id} belongs to attempt {row.attempt_id}; a new attempt draws a new stream id",
            field="attempt_id",
        )


def _attempt_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("must be a UUID", field="attempt_id") from None


def _store(session: Session, row: StreamRow, batch: Batch, now: datetime) -> Batch:
    """Store what is new; the batch with all that was rejected on the way."""
    batch, arrivals = _store_blocks(session, row, batch)
    events, patches, batch = _storable(batch)
    batch = _store_images(session, row, batch, now)
    streams.insert_gaps(session, row, batch.gaps, now=now)
    streams.insert_rejects(session, row, batch.rejected, now=now)
    streams.insert_events(session, row, events)
    choices.insert(session, row, batch.choices)
    streams.advance(session, row, batch, now=now)
    if arrivals:
        # Before these points are in the summaries, which tell what was before.
        training_limits.watch(session, row, arrivals, now=now)
        _count(session, row, arrivals)
    if row.role == "train":
        _live(session, row, batch, now)
    if patches or batch.finish is not None:
        _change_run(session, row, patches, batch.finish, now)
    _raise_alerts(session, row, [event for event, _ in events], now)
    return batch


def _store_blocks(session: Session, row: StreamRow, batch: Batch) -> tuple[Batch, list[Arrival]]:
    arrivals: list[Arrival] = []
    rejected = dict(batch.rejected)
    for block in batch.blocks:
        ids = points.known_series(session, project_id=row.project_id, run_id=row.run_id, series=block.series)
        if ids is None:
            if not _has_room(session, row, block.series):
                rejected.update(dict.fromkeys(block.idx.tolist(), "too_many_metrics"))
                continue
            ids = points.make_series(
                session, project_id=row.project_id, run_id=row.run_id, series=block.series
            )
        points.insert_block(session, row, block, ids)
        arrivals.append(Arrival(block=block, ids=ids))
    return replace(batch, rejected=rejected), arrivals


def _has_room(session: Session, row: StreamRow, series: Sequence[Series]) -> bool:
    held, every = points.count_series(session, project_id=row.project_id, run_id=row.run_id)
    if every + len(series) > MOST_SERIES:
        return False
    names = {each.name for each in series}
    if held + len(names) <= MOST_METRICS:
        return True
    known = points.names_of(session, project_id=row.project_id, run_id=row.run_id, names=sorted(names))
    return held + len(names - known) <= MOST_METRICS


def _store_images(session: Session, row: StreamRow, batch: Batch, now: datetime) -> Batch:
    """Store as many as the run has room for; its row is locked, so that they are counted one after the other."""
    if not batch.images:
        return batch
    held = images.count(session, project_id=row.project_id, run_id=row.run_id)
    room = max(0, MOST_IMAGES - held)
    kept, others = batch.images[:room], batch.images[room:]
    if kept:
        images.insert(session, row, kept)
        steps = [each.step for each in kept if each.step is not None]
        first = min(steps) if len(steps) == len(kept) else None
        told = announcements.images_logged(run_id=row.run_id, first_step=first)
        outbox.write(session, project_id=row.project_id, messages=[told], now=now)
    rejected = {**batch.rejected, **{each.idx: "too_many_images" for each in others}}
    return replace(batch, images=kept, rejected=rejected)


def _storable(
    batch: Batch,
) -> tuple[list[tuple[Event, Mapping[str, Any]]], list[Mapping[str, Any]], Batch]:
    """Events and patches as JSON columns take them; those that they do not take are rejected."""
    rejected = dict(batch.rejected)

    def checked(idx: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return storable(values)
        except InvalidInput:
            rejected[idx] = "bad_value"
            return None

    events: list[tuple[Event, Mapping[str, Any]]] = [
        (event, detail) for event in batch.events if (detail := checked(event.idx, event.detail)) is not None
    ]
    patches: list[Mapping[str, Any]] = [
        values for patch in batch.patches if (values := checked(patch.idx, patch.values)) is not None
    ]
    return events, patches, replace(batch, rejected=rejected)


def _count(session: Session, row: StreamRow, arrivals: Sequence[Arrival]) -> None:
    """Take new points into the summaries; and let the first of an attempt cut the attempts before."""
    here = _attempt_of(row)
    cut = None if row.attempt == row.newest_attempt else summaries.cut_of(session, **here)
    for arrival in arrivals:
        summaries.add(session, **here, ids=arrival.ids, block=arrival.block, cut=cut)
    if row.began is None and row.role == "train":
        began = min(int(arrival.block.steps[0]) for arrival in arrivals)
        summaries.note_first_step(session, **here, step=began)
        if row.attempt > 1:
            summaries.cut_before(session, **here, step=began)


def _live(session: Session, row: StreamRow, batch: Batch, now: datetime) -> None:
    """The attempt was heard of."""
    if not batch.is_live:
        return
    due = row.heartbeat_at is None or now - row.heartbeat_at >= _HEARTBEAT_EVERY
    is_back = row.attempt_status in (Status.STALE, Status.LOST)
    if not due and not is_back:
        return
    here = _attempt_of(row)
    attempts.hear(session, **here, now=now)
    if is_back:
        run = _locked_run(session, row)
        liveness.heard_again(session, run, number=row.attempt, before=row.attempt_status, now=now)
    if row.attempt < row.newest_attempt and batch.blocks:
        newest = attempts.lock(
            session, project_id=row.project_id, run_id=row.run_id, number=row.newest_attempt
        )
        spoke_at = datetime.fromtimestamp(
            min(max(float(block.times.max()) for block in batch.blocks), now.timestamp()), UTC
        )
        if newest is not None and newest.status.is_open:
            liveness.watch_rivals(
                session,
                _locked_run(session, row),
                number=row.attempt,
                spoke_at=spoke_at,
                newer_began_at=newest.started_at,
                now=now,
            )


def _change_run(
    session: Session,
    row: StreamRow,
    patches: Sequence[Mapping[str, Any]],
    finish: Finish | None,
    now: datetime,
) -> None:
    """Only a training may; and of a run's attempts only the newest changes the run."""
    if row.role != "train":
        return
    run = _locked_run(session, row)
    is_newest = row.attempt == run.newest_attempt
    if patches and is_newest:
        summary = dict(run.summary)
        for patch in patches:
            summary.update(patch)
        summary = {key: value for key, value in summary.items() if value is not None}
        runs.update_run(session, replace(run, summary=summary, updated_at=now))
    if finish is None:
        return
    here = _attempt_of(row)
    attempts.end(
        session,
        **here,
        at=min(datetime.fromtimestamp(finish.time, UTC), now),
        error=finish.error,
        exit_code=finish.exit_code,
    )
    attempts.set_status(session, **here, status=finish.status)
    if is_newest:
        liveness.ended(session, run, now=now)


def _raise_alerts(session: Session, row: StreamRow, events: Sequence[Event], now: datetime) -> None:
    """What the training itself wants somebody to see: one alert a run and title."""
    alerts = [event for event in events if event.kind == "alert"]
    if not alerts:
        return
    run = _locked_run(session, row)
    for event in alerts:
        text = event.detail.get("text")
        raise_alert(
            session,
            run,
            about=f"run/{event.title}",
            kind=AlertKind.RUN,
            level=Level(event.level),
            title=f"{run.key}: {event.title}" if event.title else f"{run.key}: alert",
            text=text if isinstance(text, str) and text else event.title or "an alert without words",
            now=now,
        )


class _Attempt(TypedDict):
    project_id: UUID
    run_id: UUID
    number: int


def _attempt_of(row: StreamRow) -> _Attempt:
    return {"project_id": row.project_id, "run_id": row.run_id, "number": row.attempt}


def _locked_run(session: Session, row: StreamRow) -> RunRow:
    run = runs.lock(session, project_id=row.project_id, run_id=row.run_id)
    if run is None:
        raise NotFound(f"no run {row.run_id}; it was removed this moment")
    return run
