"""A run's history as a chart needs it: attempts laid one after the other, thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.db import Session, histories, series
from app.db.histories import BlockGone, Stored
from app.db.runs import RunRow
from app.db.series import SeriesFilter
from app.domain.access import Action, Actor
from app.domain.downsampling import chosen_points
from app.domain.history import Series, cuts
from app.errors import InvalidInput, NotFound
from app.services.curves import Curve, Wanted, at
from app.services.runs import run_for
from app.services.thinned_curves import thinned_curves

MOST_SERIES_AT_ONCE = 100
MOST_EXACT_POINTS = 1_000_000
_T = TypeVar("_T", bound=np.generic)


def curves_of(
    session: Session,
    actor: Actor,
    *,
    run_id: UUID,
    where: SeriesFilter,
    from_step: int | None,
    to_step: int | None,
    attempt: int | None,
    most: int | None,
) -> tuple[RunRow, list[Curve]]:
    """Several series of a run.

    Args:
        from_step, to_step: Only these steps, both ends included.
        attempt: This one's points as it logged them; None lays the attempts one after the other, each up to the step at
            which a later one took over.
        most: Points a series at most; None for every single one.

    Raises:
        NotFound: The run has no such metric.
        InvalidInput: Too many series or points at once.
    """
    run = run_for(session, actor, run_id=run_id, action=Action.PROJECT_READ)
    here = {"project_id": run.project_id, "run_id": run.id}
    found = series.find(
        session, project_id=run.project_id, run_id=run.id, where=where, limit=MOST_SERIES_AT_ONCE + 1
    )
    if len(found) > MOST_SERIES_AT_ONCE:
        raise InvalidInput(
            f"more than {MOST_SERIES_AT_ONCE} series at once; name fewer metrics, or a group, stage or split",
            field="metric",
        )
    if not found:
        raise NotFound(
            f"run {run.key} has logged no such metric; GET /runs/{run.id}/metrics lists what there is"
        )
    began = [(each.number, each.began) for each in series.attempts_of(session, **here)]
    wanted = Wanted(
        project_id=run.project_id,
        run_id=run.id,
        series=dict(found),
        limits=dict.fromkeys([number for number, _ in began]) if attempt is not None else cuts(began),
        from_step=from_step,
        to_step=to_step,
        attempt=attempt,
    )
    if most is None:
        curves = _exact_curves(session, wanted)
    else:
        try:
            curves = thinned_curves(session, wanted, most)
            rest = {series_id: what for series_id, what in found if series_id not in curves}
            curves |= _whole_curves(session, replace(wanted, series=rest), most, with_times=False)
        except BlockGone:
            # Blocks were merged between two statements; in one statement that cannot be.
            curves = _whole_curves(session, wanted, most, with_times=True)
    return run, [curves[series_id] for series_id, _ in found]


def _exact_curves(session: Session, wanted: Wanted) -> dict[int, Curve]:
    laid = _all_laid(session, wanted, with_times=True)
    if sum(len(each.steps) for each in laid.values()) > MOST_EXACT_POINTS:
        raise InvalidInput(
            f"more than {MOST_EXACT_POINTS:,} points; ask for fewer metrics, a range of steps, or max_points",
            field="max_points",
        )
    return {
        series_id: _curve(session, wanted, wanted.series[series_id], each, np.arange(len(each.steps)))
        for series_id, each in laid.items()
    }


def _whole_curves(session: Session, wanted: Wanted, most: int, *, with_times: bool) -> dict[int, Curve]:
    """Read first and thinned then, for points that have to be put in order before.

    Raises:
        BlockGone: Times were not read, and cannot be any more.
    """
    if not wanted.series:
        return {}
    return {
        series_id: _curve(
            session, wanted, wanted.series[series_id], each, chosen_points(each.steps, each.values, most)
        )
        for series_id, each in _all_laid(session, wanted, with_times=with_times).items()
    }


def _all_laid(session: Session, wanted: Wanted, *, with_times: bool) -> dict[int, _Laid]:
    stored = histories.stored(
        session,
        project_id=wanted.project_id,
        run_id=wanted.run_id,
        series_ids=list(wanted.series),
        from_step=wanted.lowest_step,
        to_step=wanted.highest_step,
        attempt=wanted.attempt,
        with_times=with_times,
    )
    return {one: _laid([each for each in stored if each.series_id == one], wanted) for one in wanted.series}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Laid:
    """A series' points in the order of their steps, and where each of them is stored.

    Args:
        places: Of each block the places of its points that are asked for; None for all.
        starts: Which point of all, before they were ordered, is the first of each block; at the end how many there are.
        order: Of each point which one it was before; None where they were in order.
    """

    stored: Sequence[Stored]
    places: Sequence[NDArray[np.int64] | None]
    starts: NDArray[np.int64]
    order: NDArray[np.int64] | None
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def _laid(stored: Sequence[Stored], wanted: Wanted) -> _Laid:
    places = [wanted.places(each.attempt, each.steps) for each in stored]
    parts = list(zip(stored, places, strict=True))
    steps = _joined([at(each.steps, some) for each, some in parts], np.int64)
    values = _joined([at(each.values, some) for each, some in parts], np.float64)
    counts = [len(each.steps) if some is None else len(some) for each, some in parts]
    order = None
    if not (steps[1:] >= steps[:-1]).all():
        # Records of one step stay in the order in which they were logged.
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    starts = np.cumsum([0, *counts], dtype=np.int64)
    return _Laid(stored=stored, places=places, starts=starts, order=order, steps=steps, values=values)


def _curve(session: Session, wanted: Wanted, what: Series, laid: _Laid, shown: NDArray[np.int64]) -> Curve:
    """Raises BlockGone when times were not read and cannot be read any more."""
    stored_at = shown if laid.order is None else laid.order[shown]
    part = np.searchsorted(laid.starts, stored_at, side="right") - 1
    return Curve(
        series=what,
        count=len(laid.steps),
        attempts=np.array([each.attempt for each in laid.stored], dtype=np.int64)[part],
        steps=laid.steps[shown],
        times=_times(session, wanted, laid, stored_at, part),
        values=laid.values[shown],
    )


def _times(
    session: Session, wanted: Wanted, laid: _Laid, stored_at: NDArray[np.int64], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    times = [
        at(each.times, some)
        for each, some in zip(laid.stored, laid.places, strict=True)
        if each.times is not None
    ]
    if len(times) == len(laid.stored):
        return _joined(times, np.float64)[stored_at]
    places = stored_at - laid.starts[part]
    for i, some in enumerate(laid.places):
        if some is not None:
            own = part == i
            places[own] = some[places[own]]
    return histories.times_at(
        session,
        project_id=wanted.project_id,
        run_id=wanted.run_id,
        block_ids=np.array([each.block_id for each in laid.stored], dtype=np.int64)[part],
        places=places,
    )


def _joined(parts: Sequence[NDArray[_T]], kind: type[_T]) -> NDArray[_T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)
