"""As many points as a screen can show, without hiding what matters: the lowest and highest of every stretch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chosen_points(steps: NDArray[np.int64], values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Which points to show, as ascending indices.

    The points are cut into stretches of equal width in steps; of each stretch the first lowest and the first highest
    finite value are shown, and one that is not finite, if there is any. The first and the last point are always shown.

    Args:
        steps: Shape (n,), ascending, equal ones allowed.
        values: Shape (n,); may hold NaN and ±∞.
        most: At most so many, at least 8; fewer points are all shown.
    """
    count = len(steps)
    if most < 8:
        raise ValueError("too few points to show anything")
    if count <= most:
        return np.arange(count)
    stretches = (most - 2) // 3
    finite = np.isfinite(values)
    edges = _edges(steps, stretches)
    shown = [np.array([0, count - 1])]
    starts, ends = edges[:-1], edges[1:]
    filled = starts < ends
    starts = starts[filled]
    low = np.where(finite, values, np.inf)
    high = np.where(finite, values, -np.inf)
    shown.append(_first_of(low, starts, np.minimum.reduceat(low, starts), count))
    shown.append(_first_of(high, starts, np.maximum.reduceat(high, starts), count))
    if not finite.all():
        odd = np.flatnonzero(~finite)
        which = np.searchsorted(starts, odd, side="right")
        shown.append(odd[np.unique(which, return_index=True)[1]])
    return np.unique(np.concatenate(shown))


def _edges(steps: NDArray[np.int64], stretches: int) -> NDArray[np.int64]:
    """Where each stretch begins, as indices, and the end."""
    first, last = float(steps[0]), float(steps[-1])
    if last <= first:
        return np.linspace(0, len(steps), stretches + 1).astype(np.int64)
    borders = first + (last - first) * np.arange(1, stretches) / stretches
    inner = np.searchsorted(steps, borders, side="left")
    return np.concatenate([[0], inner, [len(steps)]]).astype(np.int64)


def _first_of(
    values: NDArray[np.float64], starts: NDArray[np.int64], wanted: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Index of the first point of each stretch that has the wanted value; none where a stretch has no finite one."""
    widths = np.diff(np.append(starts, count))
    hits = np.flatnonzero(values == np.repeat(wanted, widths))
    stretch = np.searchsorted(starts, hits, side="right") - 1
    _, first = np.unique(stretch, return_index=True)
    shown: NDArray[np.int64] = hits[first][np.isfinite(wanted)[stretch[first]]]
    return shown
