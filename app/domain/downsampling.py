"""As many points as a screen can show, without hiding what matters: the lowest and highest of every stretch.

The points are cut into stretches of equal width in steps; of each stretch the first lowest and the first highest finite
value are shown, and one that is not finite, if there is any. The first and the last point are always shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What has to be known of a series before its first point is looked at.

    Args:
        count: How many points there are.
        first_step, last_step: Of the first and of the last point; without points they mean nothing.
    """

    count: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Points to show.

    Args:
        places: Which of all points, ascending; of shape (number of points shown,), as the others.
    """

    places: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


class _Point(NamedTuple):
    place: int
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some points, of which the first is the series' `first`.

    Args:
        low, high: The values, with what is not finite put where it is never the lowest or highest.
    """

    first: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    finite: NDArray[np.bool_]
    is_plain: bool
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, steps: NDArray[np.int64], values: NDArray[np.float64], *, first: int) -> _Piece:
        finite = np.isfinite(values)
        if finite.all():
            return cls(first, steps, values, finite, True, values, values)
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        return cls(first, steps, values, finite, False, low, high)

    def point(self, i: int) -> _Point:
        return _Point(self.first + i, int(self.steps[i]), float(self.values[i]))


class Thinning:
    """Chooses points of a series that comes piece by piece, so that nobody has to hold all of it.

    Args:
        most: At most so many, at least FEWEST; fewer points are all shown.
    """

    def __init__(self, extent: Extent, most: int) -> None:
        if most < FEWEST:
            raise ValueError("too few points to show anything")
        self._extent = extent
        self._shows_all = extent.count <= most
        # Points at one and the same step are cut by their order.
        self._cuts_steps = float(extent.last_step) > float(extent.first_step)
        self._borders = _borders(extent, (most - 2) // 3)
        self._taken = 0
        # By place: all that is shown for good.
        self._shown: dict[int, _Point] = {}
        # Of the stretch that the last piece ended in, which the next may go on with.
        self._stretch = -1
        self._low: _Point | None = None
        self._high: _Point | None = None
        self._odd: _Point | None = None

    def take(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """The next points.

        Args:
            steps: Shape (n,), ascending, none below those of the piece before; equal ones allowed.
            values: Shape (n,); may hold NaN and ±∞.
        """
        if not len(values):
            return
        piece = _Piece.of(steps, values, first=self._taken)
        self._taken += len(values)
        if self._shows_all:
            for i in range(len(values)):
                self._show(piece.point(i))
            return
        if piece.first == 0:
            self._show(piece.point(0))
        if self._taken == self._extent.count:
            self._show(piece.point(len(values) - 1))
        edges = self._edges(steps, piece.first)
        # One look at each stretch: a few hundred short ones take less time than one array of all points more.
        for stretch in np.flatnonzero(np.diff(edges)).tolist():
            if stretch != self._stretch:
                self._finish_stretch()
                self._stretch = stretch
            self._look(piece, int(edges[stretch]), int(edges[stretch + 1]))

    def chosen(self) -> Chosen:
        """What is to be shown, once all points came.

        Raises:
            ValueError: Not as many points came as there were said to be.
        """
        if self._taken != self._extent.count:
            raise ValueError(f"{self._taken} points came of {self._extent.count}")
        self._finish_stretch()
        shown = [self._shown[place] for place in sorted(self._shown)]
        return Chosen(
            places=np.array([point.place for point in shown], dtype=np.int64),
            steps=np.array([point.step for point in shown], dtype=np.int64),
            values=np.array([point.value for point in shown], dtype=np.float64),
        )

    def _edges(self, steps: NDArray[np.int64], first: int) -> NDArray[np.int64]:
        """Where in this piece each stretch begins, and the end."""
        cut = steps if self._cuts_steps else np.arange(first, first + len(steps))
        inner = np.searchsorted(cut, self._borders, side="left")
        return np.concatenate([[0], inner, [len(steps)]]).astype(np.int64)

    def _look(self, piece: _Piece, start: int, end: int) -> None:
        """At the piece's part of the present stretch; of equal ones the first is kept."""
        lowest = start + int(piece.low[start:end].argmin())
        if piece.finite[lowest]:
            low, high = piece.point(lowest), piece.point(start + int(piece.high[start:end].argmax()))
            if self._low is None or low.value < self._low.value:
                self._low = low
            if self._high is None or high.value > self._high.value:
                self._high = high
        if self._odd is None and not piece.is_plain and not piece.finite[start:end].all():
            self._odd = piece.point(start + int(piece.finite[start:end].argmin()))

    def _finish_stretch(self) -> None:
        for each in (self._low, self._high, self._odd):
            if each is not None:
                self._show(each)
        self._low = self._high = self._odd = None

    def _show(self, point: _Point) -> None:
        self._shown[point.place] = point


def chosen_points(steps: NDArray[np.int64], values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Which points to show of a series that is all there, as ascending indices.

    Args:
        steps: Shape (n,), ascending, equal ones allowed.
        values: Shape (n,); may hold NaN and ±∞.
        most: As `Thinning` has it.
    """
    if not len(steps):
        return np.empty(0, dtype=np.int64)
    extent = Extent(count=len(steps), first_step=int(steps[0]), last_step=int(steps[-1]))
    thinning = Thinning(extent, most)
    thinning.take(steps, values)
    return thinning.chosen().places


def _borders(extent: Extent, stretches: int) -> NDArray[np.float64] | NDArray[np.int64]:
    """Where every stretch but the first begins: steps, or places where all points are at one step."""
    first, last = float(extent.first_step), float(extent.last_step)
    if last <= first:
        return np.linspace(0, extent.count, stretches + 1).astype(np.int64)[1:-1]
    return first + (last - first) * np.arange(1, stretches) / stretches
