"""Streaming count, mean and spread of samples; merged exactly as if all had been there at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What is kept of a set of samples.

    Args:
        n: How many finite samples.
        mean: Of the finite samples, 0 when there are none.
        m2: Sum of squared deviations of the finite samples from their mean.
        nan, above, below: How many samples were NaN, +∞ and −∞.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    nan: int = 0
    above: int = 0
    below: int = 0

    @property
    def total(self) -> int:
        """How many samples, the non-finite ones included."""
        return self.n + self.non_finite

    @property
    def non_finite(self) -> int:
        return self.nan + self.above + self.below

    @property
    def value(self) -> float:
        """The mean of all samples, NaN or ±∞ as soon as a sample makes it so; NaN for no sample at all."""
        if self.nan or (self.above and self.below) or self.total == 0:
            return math.nan
        if self.above or self.below:
            return math.inf if self.above else -math.inf
        return self.mean

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean, sd/√n with the sample deviation; None where it is not known."""
        if self.n < 2 or self.non_finite:
            return None
        error = math.sqrt(max(self.m2, 0.0) / (self.n - 1) / self.n)
        return error if math.isfinite(error) else None

    def merged(self, other: Moments) -> Moments:
        """Both sets together (Chan, Golub and LeVeque's pairwise update)."""
        n = self.n + other.n
        if self.n == 0 or other.n == 0:
            mean, m2 = (other.mean, other.m2) if self.n == 0 else (self.mean, self.m2)
        else:
            delta = other.mean - self.mean
            mean = self.mean + delta * (other.n / n)
            m2 = self.m2 + other.m2 + delta * delta * (self.n / n) * other.n
        return Moments(
            n=n,
            mean=mean,
            m2=m2,
            nan=self.nan + other.nan,
            above=self.above + other.above,
            below=self.below + other.below,
        )


def moments_of(samples: Sequence[float]) -> Moments:
    """Two passes over plain floats."""
    finite = [sample for sample in samples if math.isfinite(sample)]
    n = len(finite)
    mean = _total(finite) / n if n else 0.0
    return Moments(
        n=n,
        mean=mean,
        m2=_total([(sample - mean) * (sample - mean) for sample in finite]),
        nan=sum(1 for sample in samples if math.isnan(sample)),
        above=sum(1 for sample in samples if sample == math.inf),
        below=sum(1 for sample in samples if sample == -math.inf),
    )


def moments_by_index(samples: Any, index: Any, count: int) -> list[Moments]:
    """The moments of each of `count` labels' samples; a label without a sample gets empty ones.

    Args:
        samples: Shape (B,), a list of floats or a float64 numpy array.
        index: Shape (B,), which label each sample has, in [0, count); an array of integers if samples is an
            array.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(samples, numpy.ndarray):
        return _moments_of_array(numpy, samples, index, count)
    parts: list[list[float]] = [[] for _ in range(count)]
    for sample, label in zip(samples, index, strict=True):
        parts[label].append(sample)
    return [moments_of(part) for part in parts]


def _moments_of_array(numpy: Any, samples: Any, index: Any, count: int) -> list[Moments]:
    finite = numpy.isfinite(samples)
    inside, kept = index[finite], samples[finite]
    n = numpy.bincount(inside, minlength=count)
    with numpy.errstate(all="ignore"):
        mean = numpy.bincount(inside, weights=kept, minlength=count) / numpy.maximum(n, 1)
        deviation = kept - mean[inside]
        m2 = numpy.bincount(inside, weights=deviation * deviation, minlength=count)
    nan, above, below = (
        numpy.bincount(index[chosen], minlength=count)
        for chosen in (numpy.isnan(samples), samples == math.inf, samples == -math.inf)
    )
    return [
        Moments(
            n=int(n[i]),
            mean=float(mean[i]),
            m2=float(m2[i]),
            nan=int(nan[i]),
            above=int(above[i]),
            below=int(below[i]),
        )
        for i in range(count)
    ]


def _total(numbers: Sequence[float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return sum(numbers)
