"""What a chart asks for of a run's history, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.domain.history import Series

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which points of a run: below their attempt's limit, from and to a step, both included.

    Args:
        series: By id.
        limits: Of each attempt the step at which a later one took over; None without end.
        attempt: Only this one's points; None for all.
    """

    project_id: UUID
    run_id: UUID
    series: Mapping[int, Series]
    limits: Mapping[int, int | None]
    from_step: int | None
    to_step: int | None
    attempt: int | None

    @property
    def lowest_step(self) -> int:
        return _LOWEST if self.from_step is None else self.from_step

    @property
    def highest_step(self) -> int:
        return _HIGHEST if self.to_step is None else self.to_step

    def places(self, attempt: int, steps: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Which of a block's points, or None for all."""
        cut = self.limits.get(attempt)
        asked = [
            *([] if cut is None else [steps < cut]),
            *([] if self.from_step is None else [steps >= self.from_step]),
            *([] if self.to_step is None else [steps <= self.to_step]),
        ]
        return np.flatnonzero(np.logical_and.reduce(asked)) if asked else None


def at(column: NDArray[_T], places: NDArray[np.int64] | None) -> NDArray[_T]:
    return column if places is None else column[places]
