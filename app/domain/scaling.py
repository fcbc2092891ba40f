"""Arithmetic that cannot overflow: comparisons are made on scaled values (RULES.md, *One metric, one group*).

Scaling is by a power of two, which loses nothing, so ordinary numbers compare exactly as written.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

LARGEST = sys.float_info.max
# Relative slack of every comparison, so that exactly +10 % is a pass in floats too.
SLACK = 1e-9


def exponent_for(*values: float) -> int:
    """The power of two to divide by so that sums and products of a few of the values stay finite.

    Args:
        values: Finite numbers.
    """
    largest = max(map(abs, values), default=0.0)
    if largest == 0.0 or 1e-100 < largest < 1e100:
        return 0
    return math.frexp(largest)[1]


def scaled(value: float, exponent: int) -> float:
    """value / 2**exponent; ±∞ where that is too large for a float."""
    if exponent == 0:
        return value
    try:
        return math.ldexp(value, -exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def unscaled(value: float, exponent: int) -> float:
    """value · 2**exponent, or the largest float of that sign: finite for ever."""
    try:
        return clamped(math.ldexp(value, exponent))
    except OverflowError:
        return math.copysign(LARGEST, value)


def clamped(value: float) -> float:
    """The value, with ±∞ as the largest float of that sign."""
    return max(-LARGEST, min(LARGEST, value)) if math.isinf(value) else value


def ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator for a denominator ≥ 0, clamped to the finite floats; 0 / 0 is 0."""
    if denominator == 0.0:
        return 0.0 if numerator == 0.0 else math.copysign(LARGEST, numerator)
    return clamped(numerator / denominator)


def beyond(x: float, limit: float, *magnitudes: float) -> bool:
    """Whether x exceeds the limit by more than the slack of 1e-9 of the largest number involved.

    Args:
        x: Finite.
        limit: ≥ 0, may be ∞.
        magnitudes: Absolute values of the numbers that x was computed from.
    """
    return x - limit > SLACK * max(limit, *magnitudes)


def exceeds(value: float, bound: float) -> bool:
    """Whether a finite value lies above an inclusive upper bound (same slack)."""
    exponent = exponent_for(value, bound)
    a, b = scaled(value, exponent), scaled(bound, exponent)
    return a - b > SLACK * max(abs(a), abs(b))


def difference(a: float, b: float) -> float:
    """a − b for finite numbers, finite and of the right sign."""
    return clamped(a - b)


def total(values: Iterable[float]) -> float:
    """The sum, the same in any order; finite for finite values, else NaN or ±∞ as IEEE 754 has it."""
    terms = list(values)
    if not all(map(math.isfinite, terms)):
        return sum(term for term in terms if not math.isfinite(term))
    exponent = exponent_for(*terms)
    if exponent == 0:
        return math.fsum(terms)
    return unscaled(math.fsum(scaled(term, exponent) for term in terms), exponent)
