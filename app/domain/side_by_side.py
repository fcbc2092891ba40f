"""Evaluations of several runs beside each other: every number against the base's, never against another meaning.

Nothing is pooled here. Aggregates are those that were stored with each evaluation, and where two of them do not mean
the same (another dataset, definition or weights) they are shown and not compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.aggregates import MACRO
from app.domain.comparison import is_impossible, worsening
from app.domain.evaluations import OVERALL, Bound, Value
from app.domain.metrics import Metric, Pooling
from app.domain.ranking import sort_position
from app.domain.suites import TIER_PREFIX, Comparability, Suite, find_metric, has_explicit_weights, tiers_of

_ZERO_TOL = 1e-12


class Mark(StrEnum):
    """The best or the worst of a row's comparable values; ties share it, and equal values have none."""

    BEST = "best"
    WORST = "worst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run's evaluation.

    Args:
        suite: The version that it was posted on.
        values: By metric and group, stored aggregates (`overall`, `macro`, `tier:…`) among them.
        weights_version: Of the frozen weights that its aggregates were pooled with.
    """

    suite: Suite
    values: Mapping[tuple[str, str], Value]
    weights_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCell:
    """One run's number in one row.

    Args:
        worsening: Against the base, positive = worse; None for the base itself and where `reason` says why not.
        reason: incomparable, no_baseline_value, baseline_invalid, non_finite, impossible_value, censored,
            zero_baseline, no_direction.
        differing: What makes it incomparable (`dataset`, `definition`, `weights`, …).
    """

    value: Value
    worsening: float | None = None
    reason: str | None = None
    differing: tuple[str, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRow:
    """One metric in one group or aggregate.

    Args:
        metric: As the side it is compared with defines it.
        cells: One a side; None where the run has no such number.
    """

    metric: Metric
    group: str
    cells: tuple[SideCell | None, ...]


def side_by_side(sides: Sequence[Side | None], base: int) -> tuple[SideRow, ...]:
    """Every row that one of the sides has a number for: by metric, aggregates before groups, in the suite's order.

    Args:
        sides: None for a run without an evaluation.
        base: Which side the others are measured against. Where it has no number, nothing is; what means the same is
            then decided by the first side that has one.
    """
    between = _Between(sides)
    rows = []
    for name, group in _keys(sides, base):
        has = [i for i, side in enumerate(sides) if side is not None and (name, group) in side.values]
        rows.append(_row(sides, between, name, group, base if base in has else has[0], base))
    return tuple(rows)


def _row(
    sides: Sequence[Side | None], between: _Between, name: str, group: str, reference: int, base: int
) -> SideRow:
    definition = _definition(sides[reference], name)
    cells: list[SideCell | None] = []
    for i, side in enumerate(sides):
        value = None if side is None else side.values.get((name, group))
        if value is None:
            cells.append(None)
            continue
        differing = () if i == reference else between.differing(reference, i, definition, group)
        cells.append(SideCell(value=value, differing=differing))
    against = cells[base] if base == reference else None
    judged = [
        None if cell is None else _against(definition, cell, against, is_base=i == base)
        for i, cell in enumerate(cells)
    ]
    return SideRow(metric=definition, group=group, cells=_marked(definition, judged))


def _definition(side: Side | None, name: str) -> Metric:
    found = None if side is None else find_metric(side.suite, name)
    # A suite version names every metric that it has numbers for; without that, nothing says which way is better.
    return found or Metric(name=name, direction=None)


def _against(metric: Metric, cell: SideCell, base: SideCell | None, *, is_base: bool) -> SideCell:
    if cell.differing:
        return replace(cell, reason="incomparable")
    own = _unusable(metric, cell.value)
    if own is not None or is_base:
        return replace(cell, reason=own)
    if base is None:
        return replace(cell, reason="no_baseline_value")
    theirs = _unusable(metric, base.value)
    if theirs is not None:
        return replace(cell, reason=theirs if theirs == "censored" else "baseline_invalid")
    change = worsening(metric, base.value.value, cell.value.value, _ZERO_TOL)
    return replace(cell, worsening=change, reason="zero_baseline" if change is None else None)


def _unusable(metric: Metric, value: Value) -> str | None:
    if metric.direction is None:
        return "no_direction"
    if not math.isfinite(value.value):
        return "non_finite"
    if is_impossible(metric, value, _ZERO_TOL):
        return "impossible_value"
    return "censored" if value.bound is not Bound.EXACT else None


def _marked(metric: Metric, cells: Sequence[SideCell | None]) -> tuple[SideCell | None, ...]:
    """Not finite is worse than any number; an impossible value and one that is only a bound are neither."""
    places: dict[int, tuple[int, float]] = {}
    for i, cell in enumerate(cells):
        if cell is None or cell.differing:
            continue
        if _unusable(metric, cell.value) in (None, "non_finite"):
            places[i] = sort_position(metric, cell.value.value, Bound.EXACT)
    if len(set(places.values())) < 2:
        return tuple(cells)
    best, worst = min(places.values()), max(places.values())
    return tuple(
        cell
        if cell is None or places.get(i) not in (best, worst)
        else replace(cell, mark=Mark.BEST if places[i] == best else Mark.WORST)
        for i, cell in enumerate(cells)
    )


class _Between:
    """What makes cells of two sides incomparable; each pair of suite versions is looked through once."""

    def __init__(self, sides: Sequence[Side | None]) -> None:
        self._sides = sides
        self._known: dict[tuple[int, int], Comparability] = {}

    def differing(self, a: int, b: int, metric: Metric, group: str) -> tuple[str, ...]:
        ours, theirs = self._sides[a], self._sides[b]
        if ours is None or theirs is None:
            return ()
        known = self._known.get((a, b))
        if known is None:
            known = self._known[a, b] = Comparability(ours.suite, theirs.suite)
        fields = known.fields(metric.name, group)
        is_pooled = metric.pooling is not Pooling.NONE and (group == OVERALL or group.startswith(TIER_PREFIX))
        # Frozen weights belong to no version; what was pooled with earlier ones waits to be pooled again.
        if (
            is_pooled
            and not has_explicit_weights(ours.suite)
            and ours.weights_version != theirs.weights_version
        ):
            fields = tuple(dict.fromkeys((*fields, "weights")))
        return fields


def _keys(sides: Sequence[Side | None], base: int) -> list[tuple[str, str]]:
    """(metric, group) of every value, in the order of the base's suite, then of the others'."""
    there = [side for side in (sides[base], *sides) if side is not None]
    present = dict.fromkeys(key for side in there for key in side.values)
    metrics = _first_seen(metric.name for side in there for metric in side.suite.metrics)
    groups = _first_seen(
        [OVERALL, MACRO]
        + [f"{TIER_PREFIX}{tier}" for side in there for tier in tiers_of(side.suite)]
        + [group.name for side in there for group in side.suite.groups]
    )
    last = len(metrics) + len(groups)
    return sorted(
        present, key=lambda key: (metrics.get(key[0], last), key[0], groups.get(key[1], last), key[1])
    )


def _first_seen(names: Iterable[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}
