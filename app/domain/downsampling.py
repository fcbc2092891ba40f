"""As many points as a screen can show, without hiding what matters: the lowest and highest of every stretch."""

from __future__ import annotations

import itertools

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
    edges = _edges(steps, (most - 2) // 3)
    finite = np.isfinite(values)
    is_plain = bool(finite.all())
    low = values if is_plain else np.where(finite, values, np.inf)
    high = values if is_plain else np.where(finite, values, -np.inf)
    shown = {0, count - 1}
    # One look at each stretch: a few hundred short ones take less time than one array of all points more.
    for start, end in itertools.pairwise(edges.tolist()):
        if start == end:
            continue
        lowest = start + int(low[start:end].argmin())
        if finite[lowest]:
            shown.update((lowest, start + int(high[start:end].argmax())))
        if not is_plain and not finite[start:end].all():
            shown.add(start + int(finite[start:end].argmin()))
    return np.array(sorted(shown), dtype=np.int64)


def _edges(steps: NDArray[np.int64], stretches: int) -> NDArray[np.int64]:
    """Where each stretch begins, as indices, and the end."""
    first, last = float(steps[0]), float(steps[-1])
    if last <= first:
        return np.linspace(0, len(steps), stretches + 1).astype(np.int64)
    borders = first + (last - first) * np.arange(1, stretches) / stretches
    inner = np.searchsorted(steps, borders, side="left")
    return np.concatenate([[0], inner, [len(steps)]]).astype(np.int64)
