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
        possible: Exact, finite, not beyond the ideal, and of a size that needs no scaling.
        plain: Possible, and of enough samples to be judged.
        absent: No value.
        odd: A value, exact or not, that is not finite or needs scaling.
        counts: The values' n; None where unknown or absent.
        n_unknown: No value, or one of unknown n.
        has_stderr: Whether any value has a standard error.
    """

    rows: Sequence[Value | None]
    numbers: Numbers
    possible: Flags
    plain: Flags
    absent: Flags
    odd: Flags
    counts: Sequence[int | None]
    n_unknown: Flags
    has_stderr: bool


def figures_of(metric: Metric, values: Mapping[str, Value], groups: Sequence[str], policy: Policy) -> Figures:
    rows = [values.get(group) for group in groups]
    present = [row for row in rows if row is not None]
    if len(present) == len(rows):
        absent = _none_of(rows)
        numbers = np.array([row.value for row in present], dtype=np.float64)
        counts: list[int | None] = [row.n for row in present]
    else:
        absent = np.array([row is None for row in rows], dtype=np.bool_)
        numbers = np.array([np.nan if row is None else row.value for row in rows], dtype=np.float64)
        counts = [None if row is None else row.n for row in rows]
    exact = ~absent
    if any([row.bound is not Bound.EXACT for row in present]):  # noqa: C419  A list is twice as fast.
        exact &= np.array([row is None or row.bound is Bound.EXACT for row in rows], dtype=np.bool_)
    ordinary = is_ordinary(metric, numbers)
    possible = exact & ordinary & ~_impossible(metric, numbers, policy.zero_tol)
    known = [n for n in counts if n is not None]
    n_unknown = _none_of(rows) if len(known) == len(rows) else np.array([n is None for n in counts])
    enough = ~_none_of(rows)
    if known and min(known) < policy.min_n:
        enough = np.array([n is None or n >= policy.min_n for n in counts])
    return Figures(
        rows=rows,
        numbers=numbers,
        possible=possible,
        plain=possible & enough,
        absent=absent,
        odd=~absent & ~ordinary,
        counts=counts,
        n_unknown=n_unknown,
        has_stderr=[row.stderr for row in present].count(None) < len(present),
    )


def _none_of(rows: Sequence[object]) -> Flags:
    return np.zeros(len(rows), dtype=np.bool_)


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
