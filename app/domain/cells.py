"""Every row of the table in RULES.md, *One metric, one group, against the champion*."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.domain.comparison import Comparison, compare, is_impossible
from app.domain.evaluations import Bound, Value
from app.domain.metrics import Metric
from app.domain.noise import Seeds, compare_seeds, seeds_of
from app.domain.outcomes import Check, Json, Outcome, Rule
from app.domain.tolerances import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is known of one cell on both sides.

    Args:
        group: A group's name, `overall` or `tier:<tier>`.
        has_champion: Whether this suite and stage have a champion at all.
        missing: What to call an absent candidate: `missing_metric` or `missing_group`.
        differing: What makes the cell incomparable between the two suite versions; () when nothing does.
        baseline_siblings, candidate_siblings: What other runs of either side's recipe measured here.
        same_recipe: Whether the candidate is itself a seed of the baseline's recipe.
        only_bounds: Whether an aggregate has nothing to pool since a side is known only as bounds.
        detail: Evidence to pass on (how many groups an aggregate compares).
    """

    metric: Metric
    group: str
    baseline: Value | None
    candidate: Value | None
    has_champion: bool
    terms: Terms
    missing: str = "missing_group"
    differing: tuple[str, ...] = ()
    baseline_siblings: tuple[float, ...] = ()
    candidate_siblings: tuple[float, ...] = ()
    same_recipe: bool = False
    only_bounds: bool = False
    detail: Mapping[str, Json] = field(default_factory=dict)


def regression_check(cell: Cell) -> Check:
    """Judge a cell; the first row of the table that applies decides."""
    check = _judged(cell)
    if not cell.only_bounds:
        return check
    # Only bounds are left on one side: nothing is missing, but nothing can be pooled either.
    return replace(
        check,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
        required=cell.terms.required,
        worsening=None,
    )


def _judged(cell: Cell) -> Check:
    """What is wrong with the candidate's own number comes first: it fails with or without a champion."""
    candidate, baseline = cell.candidate, cell.baseline
    if candidate is not None and (reason := unusable(cell.metric, candidate, cell.terms.tolerances.zero_tol)):
        return _check(cell, Outcome.FAILED, reason)
    if not cell.has_champion:
        # With no champion a group that the candidate lacks too is absent on both sides.
        return _missing_on_both(cell) if candidate is None else _not_evaluated(cell, "no_baseline")
    if baseline is None:
        return (
            _missing_on_both(cell)
            if candidate is None
            else _not_evaluated(cell, "no_baseline_value", advisory=True)
        )
    if cell.differing:
        return _not_evaluated(cell, "incomparable", detail={"fields": list(cell.differing)})
    if candidate is None:
        return _check(cell, Outcome.FAILED, cell.missing)
    if unusable(cell.metric, baseline, cell.terms.tolerances.zero_tol):
        return _not_evaluated(cell, "baseline_invalid")
    min_n = cell.terms.tolerances.min_n
    if is_too_few(baseline, min_n) or is_too_few(candidate, min_n):
        return _not_evaluated(cell, "too_few", advisory=not cell.terms.demanded)
    return compared(cell)


def unusable(metric: Metric, value: Value, zero_tol: float) -> str | None:
    """Why a number can be neither judged nor a baseline: `non_finite`, `impossible_value`, or None."""
    if not math.isfinite(value.value):
        return "non_finite"
    return "impossible_value" if is_impossible(metric, value, zero_tol) else None


def is_too_few(value: Value, min_n: int) -> bool:
    """Fewer samples than a group needs to be judged; an unknown n is judged."""
    return value.n is not None and value.n < min_n


def is_comparable(cell: Cell) -> bool:
    """Whether both sides have usable values of enough samples that mean the same."""
    terms = cell.terms.tolerances
    return (
        not cell.differing
        and not cell.only_bounds
        and all(
            side is not None
            and unusable(cell.metric, side, terms.zero_tol) is None
            and not is_too_few(side, terms.min_n)
            for side in (cell.baseline, cell.candidate)
        )
    )


def compared(cell: Cell) -> Check:
    """Judge a cell of which both sides have a finite, possible value."""
    baseline, candidate = cell.baseline, cell.candidate
    if baseline is None or candidate is None:
        raise ValueError(f"{cell.metric.name} in {cell.group} has no value on both sides")
    sides = seeds_known(cell)
    if sides is None:
        result = compare(cell.metric, baseline, candidate, cell.terms.tolerances)
        before, after = baseline.value, candidate.value
        single = ("single_seed",) if result.outcome is not Outcome.NOT_EVALUATED else ()
    else:
        result, before, after = _compared_by_seeds(cell, candidate, *sides)
        single = ()
    n_unknown = ("n_unknown",) if baseline.n is None or candidate.n is None else ()
    return Check(
        rule=Rule.REGRESSION,
        metric=cell.metric.name,
        group=cell.group,
        outcome=result.outcome,
        required=cell.terms.required and not result.advisory,
        reason=result.reason,
        notes=(*result.notes, *n_unknown, *single),
        baseline=before,
        candidate=after,
        worsening=result.worsening,
        limit=result.limit,
        detail={**cell.detail, **result.detail} if result.detail else cell.detail,
    )


def numbers_of(cell: Cell) -> tuple[float, float] | None:
    """The two numbers that a cell compares: the means where seeds are known, else both sides' own values."""
    known = seeds_known(cell)
    if cell.baseline is None or cell.candidate is None:
        return None
    if known is None:
        return cell.baseline.value, cell.candidate.value
    theirs, ours = known
    return theirs.mean, cell.candidate.value if ours is None else ours.mean


def seeds_known(cell: Cell) -> tuple[Seeds, Seeds | None] | None:
    """Both sides' seeds where the baseline has enough of them; None for the candidate's where it is a bound.

    With fewer, one seed stands against one seed: each side's own value. A baseline known only as a bound has
    no mean.
    """
    baseline, candidate = cell.baseline, cell.candidate
    if baseline is None or candidate is None or baseline.bound is not Bound.EXACT:
        return None
    if 1 + len(cell.baseline_siblings) < cell.terms.tolerances.min_seeds:
        return None
    theirs = seeds_of(cell.metric, (baseline.value, *cell.baseline_siblings))
    if candidate.bound is not Bound.EXACT:
        return theirs, None
    return theirs, seeds_of(cell.metric, (candidate.value, *cell.candidate_siblings))


def _compared_by_seeds(
    cell: Cell, candidate: Value, theirs: Seeds, ours: Seeds | None
) -> tuple[Comparison, float, float]:
    result = compare_seeds(
        cell.metric, theirs, ours or candidate, cell.terms.tolerances, same_recipe=cell.same_recipe
    )
    return result, theirs.mean, candidate.value if ours is None else ours.mean


def _missing_on_both(cell: Cell) -> Check:
    return _not_evaluated(cell, "missing_group", advisory=True)


def _not_evaluated(
    cell: Cell, reason: str, *, advisory: bool = False, detail: Mapping[str, Json] | None = None
) -> Check:
    return _check(cell, Outcome.NOT_EVALUATED, reason, advisory=advisory, detail=detail)


def _check(
    cell: Cell,
    outcome: Outcome,
    reason: str,
    *,
    advisory: bool = False,
    detail: Mapping[str, Json] | None = None,
) -> Check:
    return Check(
        rule=Rule.REGRESSION,
        metric=cell.metric.name,
        group=cell.group,
        outcome=outcome,
        required=cell.terms.required and not advisory,
        reason=reason,
        baseline=None if cell.baseline is None else cell.baseline.value,
        candidate=None if cell.candidate is None else cell.candidate.value,
        detail={**cell.detail, **(detail or {})},
    )
