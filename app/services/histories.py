"""A run's history as a chart needs it: attempts laid one after the other, thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from app.services.runs import run_for

MOST_SERIES_AT_ONCE = 100
MOST_EXACT_POINTS = 1_000_000
_T = TypeVar("_T", bound=np.generic)
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One series' points in the order of their steps.

    Args:
        count: How many points there are; all are here unless the curve was thinned.
        attempts, steps, times, values: Each of shape (number of points shown,).
    """

    series: Series
    count: int
    attempts: NDArray[np.int64]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def is_thinned(self) -> bool:
        return len(self.steps) < self.count


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
    limits = dict.fromkeys([number for number, _ in began]) if attempt is not None else cuts(began)
    which = _Which(limits=limits, from_step=from_step, to_step=to_step)

    def read(*, with_times: bool) -> list[Curve]:
        stored = histories.stored(
            session,
            project_id=run.project_id,
            run_id=run.id,
            series_ids=[series_id for series_id, _ in found],
            from_step=_LOWEST if from_step is None else from_step,
            to_step=_HIGHEST if to_step is None else to_step,
            attempt=attempt,
            with_times=with_times,
        )
        laid = [_laid([each for each in stored if each.series_id == one], which) for one, _ in found]
        if most is None and sum(len(each.steps) for each in laid) > MOST_EXACT_POINTS:
            raise InvalidInput(
                f"more than {MOST_EXACT_POINTS:,} points; ask for fewer metrics, a range of steps, or max_points",
                field="max_points",
            )
        return [_curve(session, run, what, each, most) for (_, what), each in zip(found, laid, strict=True)]

    try:
        return run, read(with_times=most is None)
    except BlockGone:
        # Blocks were merged between two statements; in one statement that cannot be.
        return run, read(with_times=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Which:
    """Which points are asked for: below their attempt's limit, from and to a step, both included."""

    limits: Mapping[int, int | None]
    from_step: int | None
    to_step: int | None

    def of(self, stored: Stored) -> NDArray[np.int64] | None:
        """Places in the block, or None for all."""
        steps = stored.steps
        cut = self.limits.get(stored.attempt)
        asked = [
            *([] if cut is None else [steps < cut]),
            *([] if self.from_step is None else [steps >= self.from_step]),
            *([] if self.to_step is None else [steps <= self.to_step]),
        ]
        return np.flatnonzero(np.logical_and.reduce(asked)) if asked else None


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


def _laid(stored: Sequence[Stored], which: _Which) -> _Laid:
    places = [which.of(each) for each in stored]
    parts = list(zip(stored, places, strict=True))
    steps = _joined([_at(each.steps, some) for each, some in parts], np.int64)
    values = _joined([_at(each.values, some) for each, some in parts], np.float64)
    counts = [len(each.steps) if some is None else len(some) for each, some in parts]
    order = None
    if not (steps[1:] >= steps[:-1]).all():
        # Records of one step stay in the order in which they were logged.
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    starts = np.cumsum([0, *counts], dtype=np.int64)
    return _Laid(stored=stored, places=places, starts=starts, order=order, steps=steps, values=values)


def _curve(session: Session, run: RunRow, what: Series, laid: _Laid, most: int | None) -> Curve:
    """Raises BlockGone when times were not read and cannot be read any more."""
    count = len(laid.steps)
    shown = np.arange(count) if most is None else chosen_points(laid.steps, laid.values, most)
    stored_at = shown if laid.order is None else laid.order[shown]
    part = np.searchsorted(laid.starts, stored_at, side="right") - 1
    return Curve(
        series=what,
        count=count,
        attempts=np.array([each.attempt for each in laid.stored], dtype=np.int64)[part],
        steps=laid.steps[shown],
        times=_times(session, run, laid, stored_at, part),
        values=laid.values[shown],
    )


def _times(
    session: Session, run: RunRow, laid: _Laid, stored_at: NDArray[np.int64], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    times = [
        _at(each.times, some)
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
        project_id=run.project_id,
        run_id=run.id,
        block_ids=np.array([each.block_id for each in laid.stored], dtype=np.int64)[part],
        places=places,
    )


def _at(column: NDArray[_T], places: NDArray[np.int64] | None) -> NDArray[_T]:
    return column if places is None else column[places]


def _joined(parts: Sequence[NDArray[_T]], kind: type[_T]) -> NDArray[_T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)
