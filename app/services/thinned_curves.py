"""Curves thinned while they are read, a block at a time: however long a history is, little of it is in memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.db import Session, histories
from app.db.histories import Outline
from app.domain.downsampling import Extent, Thinning
from app.domain.history import Series
from app.services.curves import Curve, Wanted, at


def thinned_curves(session: Session, wanted: Wanted, most: int) -> dict[int, Curve]:
    """By id, every series whose points were logged in the order of their steps.

    The others are left out: they have to be put in order first, all of them.

    Args:
        most: Points a series at most.

    Raises:
        BlockGone: Blocks were merged meanwhile.
    """
    pieces = {series_id: pieces for series_id, pieces in _pieces(session, wanted).items() if _ascend(pieces)}
    thinnings = {series_id: Thinning(_extent(its), most) for series_id, its in pieces.items()}
    each = [(thinnings[series_id], piece) for series_id, its in pieces.items() for piece in its]
    columns = histories.values_of(
        session,
        project_id=wanted.project_id,
        run_id=wanted.run_id,
        wanted=[piece.outline for _, piece in each],
    )
    for (thinning, piece), column in zip(each, columns, strict=True):
        thinning.take(piece.steps, at(column, piece.places))
    return {
        series_id: _curve(session, wanted, wanted.series[series_id], pieces[series_id], thinning)
        for series_id, thinning in thinnings.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Of one block the points that are asked for, at least one.

    Args:
        places: Which of the block's; None for all.
        ascends: Whether no step is below the one before.
    """

    outline: Outline
    places: NDArray[np.int64] | None
    count: int
    first_step: int
    last_step: int
    ascends: bool

    @property
    def steps(self) -> NDArray[np.int64]:
        return at(self.outline.steps, self.places)


def _pieces(session: Session, wanted: Wanted) -> dict[int, list[_Piece]]:
    outlines = histories.outlines(
        session,
        project_id=wanted.project_id,
        run_id=wanted.run_id,
        series_ids=list(wanted.series),
        from_step=wanted.lowest_step,
        to_step=wanted.highest_step,
        attempt=wanted.attempt,
    )
    found: dict[int, list[_Piece]] = {series_id: [] for series_id in wanted.series}
    for outline in outlines:
        every = outline.steps
        places = wanted.places(outline.attempt, every)
        steps = at(every, places)
        if not len(steps):
            continue
        found[outline.series_id].append(
            _Piece(
                outline=outline,
                places=places,
                count=len(steps),
                first_step=int(steps[0]),
                last_step=int(steps[-1]),
                ascends=bool((steps[1:] >= steps[:-1]).all()),
            )
        )
    return found


def _ascend(pieces: Sequence[_Piece]) -> bool:
    return all(piece.ascends for piece in pieces) and all(
        one.last_step <= following.first_step for one, following in itertools.pairwise(pieces)
    )


def _extent(pieces: Sequence[_Piece]) -> Extent:
    return Extent(
        count=sum(piece.count for piece in pieces),
        first_step=pieces[0].first_step if pieces else 0,
        last_step=pieces[-1].last_step if pieces else 0,
    )


def _curve(
    session: Session, wanted: Wanted, series: Series, pieces: Sequence[_Piece], thinning: Thinning
) -> Curve:
    chosen = thinning.chosen()
    starts = np.cumsum([0, *(piece.count for piece in pieces)], dtype=np.int64)
    part = np.searchsorted(starts, chosen.places, side="right") - 1
    stored_at = chosen.places - starts[part]
    for i, piece in enumerate(pieces):
        if piece.places is not None:
            own = part == i
            stored_at[own] = piece.places[stored_at[own]]
    return Curve(
        series=series,
        count=int(starts[-1]),
        attempts=np.array([piece.outline.attempt for piece in pieces], dtype=np.int64)[part],
        steps=chosen.steps,
        times=histories.times_at(
            session,
            project_id=wanted.project_id,
            run_id=wanted.run_id,
            block_ids=np.array([piece.outline.block_id for piece in pieces], dtype=np.int64)[part],
            places=stored_at,
        ),
        values=chosen.values,
    )
