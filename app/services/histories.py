"""A run's history as a chart needs it: attempts laid one after the other, thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.db import Session, histories, series
from app.db.histories import Piece
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
    pieces = histories.pieces(
        session,
        project_id=run.project_id,
        run_id=run.id,
        series_ids=[series_id for series_id, _ in found],
        from_step=_LOWEST if from_step is None else from_step,
        to_step=_HIGHEST if to_step is None else to_step,
        attempt=attempt,
    )
    curves = []
    held = 0
    for series_id, what in found:
        own = [piece for piece in pieces if piece.series_id == series_id]
        curve = _curve(what, own, limits, from_step, to_step)
        held += curve.count
        if most is None and held > MOST_EXACT_POINTS:
            raise InvalidInput(
                f"more than {MOST_EXACT_POINTS:,} points; ask for fewer metrics, a range of steps, or max_points",
                field="max_points",
            )
        curves.append(_thinned(curve, most))
    return run, curves


def _curve(
    what: Series,
    pieces: Sequence[Piece],
    limits: Mapping[int, int | None],
    from_step: int | None,
    to_step: int | None,
) -> Curve:
    kept = []
    for piece in pieces:
        cut = limits.get(piece.attempt)
        which = np.ones(len(piece.steps), dtype=bool)
        if cut is not None:
            which &= piece.steps < cut
        if from_step is not None:
            which &= piece.steps >= from_step
        if to_step is not None:
            which &= piece.steps <= to_step
        kept.append((piece, slice(None) if which.all() else which))
    attempts = [np.full(len(piece.steps[which]), piece.attempt, dtype=np.int64) for piece, which in kept]
    joined = _joined(attempts, np.int64)
    steps = _joined([piece.steps[which] for piece, which in kept], np.int64)
    times = _joined([piece.times[which] for piece, which in kept], np.float64)
    values = _joined([piece.values[which] for piece, which in kept], np.float64)
    if len(steps) > 1 and not (np.diff(steps) >= 0).all():
        # Records of one step stay in the order in which they were logged.
        order = np.argsort(steps, kind="stable")
        joined, steps, times, values = joined[order], steps[order], times[order], values[order]
    return Curve(series=what, count=len(steps), attempts=joined, steps=steps, times=times, values=values)


def _joined(parts: Sequence[NDArray[_T]], kind: type[_T]) -> NDArray[_T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


def _thinned(curve: Curve, most: int | None) -> Curve:
    if most is None or curve.count <= most:
        return curve
    which = chosen_points(curve.steps, curve.values, most)
    return Curve(
        series=curve.series,
        count=curve.count,
        attempts=curve.attempts[which],
        steps=curve.steps[which],
        times=curve.times[which],
        values=curve.values[which],
    )
