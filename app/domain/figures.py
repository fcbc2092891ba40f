"""One side's values of a metric as arrays, in the order of its groups: for judging many cells at once.

The rule itself is written in `cells`, `comparison` and `noise`, one cell at a time. What stands here and in
`lineup` repeats it for ordinary numbers in the same order of operations, so that both give the same floats;
a cell with anything unusual in it (`odd`) is left to the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.domain.evaluations import Bound, Value
from app.domain.metrics import Direction, Metric, reference
from app.domain.policy import Policy
from app.domain.scaling import SLACK
from app.domain.suites import Comparability

Numbers: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One evaluation's values of one metric; every field has one entry a group.

    Args:
        rows: The values as they were posted, None where there is none.
        numbers: NaN where there is none.
        plain: Exact, finite, possible, of enough samples and of a size that needs no scaling.
        absent: No value.
        odd: A value, exact or not, that is not finite or needs scaling.
        n_unknown: No value, or one of unknown n.
        has_stderr: Whether any value has a standard error.
    """

    rows: Sequence[Value | None]
    numbers: Numbers
    plain: Flags
    absent: Flags
    odd: Flags
    n_unknown: Flags
    has_stderr: bool


def figures_of(metric: Metric, values: Mapping[str, Value], groups: Sequence[str], policy: Policy) -> Figures:
    rows = [values.get(group) for group in groups]
    numbers = np.array([np.nan if row is None else row.value for row in rows], dtype=np.float64)
    min_n = policy.min_n
    sound = [
        row is not None and row.bound is Bound.EXACT and (row.n is None or row.n >= min_n) for row in rows
    ]
    ordinary = is_ordinary(metric, numbers)
    absent = np.array([row is None for row in rows], dtype=np.bool_)
    return Figures(
        rows=rows,
        numbers=numbers,
        plain=np.array(sound, dtype=np.bool_) & ordinary & ~_impossible(metric, numbers, policy.zero_tol),
        absent=absent,
        odd=~absent & ~ordinary,
        n_unknown=np.array([row is None or row.n is None for row in rows], dtype=np.bool_),
        has_stderr=any(row is not None and row.stderr is not None for row in rows),
    )


def differing_in(comparability: Comparability, metric: Metric, groups: Sequence[str]) -> Flags:
    """Where a group does not compare between the two suite versions."""
    if comparability.is_total:
        return np.zeros(len(groups), dtype=np.bool_)
    return np.array([bool(comparability.fields(metric.name, group)) for group in groups], dtype=np.bool_)


def is_ordinary(metric: Metric, *numbers: Numbers) -> Flags:
    """Where the largest of the numbers and the metric's reference needs no scaling (`exponent_for` gives 0)."""
    size = np.full_like(numbers[0], abs(reference(metric)))
    for each in numbers:
        # NaN stays NaN here, and is never ordinary.
        size = np.maximum(size, np.abs(each))
    return np.asarray((size == 0.0) | ((size > 1e-100) & (size < 1e100)))


def _impossible(metric: Metric, numbers: Numbers, zero_tol: float) -> Flags:
    """`comparison.is_impossible` for exact ordinary numbers."""
    if metric.ideal is None or metric.direction not in (Direction.LOWER, Direction.HIGHER):
        return np.zeros(len(numbers), dtype=np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        past = metric.ideal - numbers if metric.direction is Direction.LOWER else numbers - metric.ideal
        size = np.maximum(np.maximum(np.abs(numbers), abs(metric.ideal)), zero_tol)
        return np.asarray(past - zero_tol > SLACK * size)
