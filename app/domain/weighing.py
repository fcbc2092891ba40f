"""Weighted means that are the same in any order and finite for finite numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.evaluations import OVERALL, Value
from app.domain.figures import Numbers
from app.domain.metrics import Pooling
from app.domain.scaling import LARGEST, exponent_for, total, unscaled


class Weighing:
    """How some groups weigh against each other, worked out once for all that is pooled over them.

    Args:
        groups: Those with a weight, in order.
        weightless: The others.
    """

    def __init__(self, groups: Iterable[str], shares: Mapping[str, float]) -> None:
        pairs = [(group, shares.get(group, 0.0)) for group in groups]
        self.groups = tuple(group for group, weight in pairs if weight > 0.0)
        self.weightless = tuple(group for group, weight in pairs if not weight > 0.0)
        self._weights = [weight for _, weight in pairs if weight > 0.0]
        self._relative = _relative(self._weights)
        self._whole = math.fsum(self._relative.tolist())
        self._positions: tuple[tuple[str, ...], NDArray[np.intp]] | None = None

    def positions_in(self, groups: tuple[str, ...]) -> NDArray[np.intp]:
        """Where each of its groups stands among the groups given, which hold them all."""
        if self._positions is None or self._positions[0] is not groups:
            index = {group: i for i, group in enumerate(groups)}
            self._positions = groups, np.array([index[group] for group in self.groups], dtype=np.intp)
        return self._positions[1]

    def mean(self, numbers: Numbers, pooling: Pooling) -> float:
        """Of one number a group."""
        return _mean(self._relative, self._whole, numbers, squares=pooling is Pooling.RMS)

    def pool(self, values: Sequence[Value], pooling: Pooling, numbers: Numbers | None = None) -> Value | None:
        """The weighted mean (or root of the weighted mean of squares) of one value a group; None of none.

        n and stderr of the whole are known when every group's are (groups are independent samples).

        Args:
            numbers: The values' numbers, where they are at hand as an array.
        """
        if not values:
            return None
        if numbers is None:
            numbers = np.array([value.value for value in values], dtype=np.float64)
        number = self.mean(numbers, pooling)
        counts = [value.n for value in values]
        return Value(
            metric=values[0].metric,
            group=OVERALL,
            value=number,
            n=None if None in counts else sum(filter(None, counts)),
            stderr=self._stderr(values, number, pooling),
        )

    def _stderr(self, values: Sequence[Value], number: float, pooling: Pooling) -> float | None:
        if not math.isfinite(number) or any(value.stderr is None for value in values):
            return None
        whole = math.fsum(self._weights)
        terms = []
        for weight, value in zip(self._weights, values, strict=True):
            if value.stderr is None or not math.isfinite(value.stderr):
                return None
            # ∂√(Σ w·x²) / ∂x = w·x / √(Σ w·x²)
            slope = 1.0 if pooling is not Pooling.RMS else (value.value / number if number else 1.0)
            terms.append(weight / whole * slope * value.stderr)
        return min(math.hypot(*sorted(terms)), LARGEST)


def pooled(values: Iterable[Value], shares: Mapping[str, float], pooling: Pooling) -> Value | None:
    """The values pooled by their groups' shares, in any unit; a group without one is left out."""
    members = [value for value in values if shares.get(value.group, 0.0) > 0.0]
    return Weighing((value.group for value in members), shares).pool(members, pooling)


def weighted_mean(terms: list[tuple[float, float]], *, squares: bool = False) -> float:
    """Σ weight·x / Σ weight, or √(Σ weight·x² / Σ weight), of pairs (weight, x).

    NaN and ±∞ pass through: a mean with a NaN in it is NaN.
    """
    relative = _relative([weight for weight, _ in terms])
    numbers = np.array([x for _, x in terms], dtype=np.float64)
    return _mean(relative, math.fsum(relative.tolist()), numbers, squares=squares)


def _relative(weights: list[float]) -> Numbers:
    """As shares of the heaviest, so that no sum of them overflows."""
    return np.array(weights, dtype=np.float64) / max(weights, default=1.0)


def _mean(relative: Numbers, whole: float, numbers: Numbers, *, squares: bool) -> float:
    if not np.isfinite(numbers).all():
        return total(np.abs(numbers).tolist()) if squares else total(numbers.tolist())
    exponent = exponent_for(float(np.abs(numbers).max()))
    x = numbers if exponent == 0 else np.ldexp(numbers, -exponent)
    weighted = relative * x
    if squares:
        return unscaled(math.sqrt(math.fsum((weighted * x).tolist()) / whole), exponent)
    return unscaled(math.fsum(weighted.tolist()) / whole, exponent)
