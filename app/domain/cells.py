"""Every row of the table in RULES.md, *One metric, one group, against the champion*."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.comparison import compare, is_impossible
from app.domain.evaluations import Value
from app.domain.metrics import Metric
from app.domain.outcomes import Check, Json, Outcome, Rule
from app.domain.tolerances import Terms, Tolerances


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is known of one cell on both sides.

    Args:
        group: A group's name, `overall` or `tier:<tier>`.
        has_champion: Whether this suite and stage have a champion at all.
        missing: What to call an absent candidate: `missing_metric` or `missing_group`.
        differing: What makes the cell incomparable between the two suite versions; () when nothing does.
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
    detail: Mapping[str, Json] = field(default_factory=dict)


def regression_check(cell: Cell) -> Check:
    """Judge a cell; the first row of the table that applies decides.

    What is wrong with the candidate's own number comes first: it fails with or without a champion.
    """
    candidate, baseline = cell.candidate, cell.baseline
    if candidate is not None and (reason := unusable(cell.metric, candidate, cell.terms.tolerances)):
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
    if unusable(cell.metric, baseline, cell.terms.tolerances):
        return _not_evaluated(cell, "baseline_invalid")
    if _too_few(baseline, candidate, cell.terms.tolerances.min_n):
        return _not_evaluated(cell, "too_few", advisory=not cell.terms.demanded)
    return _compared(cell, baseline, candidate)


def unusable(metric: Metric, value: Value, tolerances: Tolerances) -> str | None:
    """Why a number can be neither judged nor a baseline: `non_finite`, `impossible_value`, or None."""
    if not math.isfinite(value.value):
        return "non_finite"
    return "impossible_value" if is_impossible(metric, value, tolerances.zero_tol) else None


def _compared(cell: Cell, baseline: Value, candidate: Value) -> Check:
    result = compare(cell.metric, baseline, candidate, cell.terms.tolerances)
    notes = result.notes
    if baseline.n is None or candidate.n is None:
        notes = (*notes, "n_unknown")
    if result.outcome is not Outcome.NOT_EVALUATED:
        notes = (*notes, "single_seed")
    return Check(
        rule=Rule.REGRESSION,
        metric=cell.metric.name,
        group=cell.group,
        outcome=result.outcome,
        required=cell.terms.required,
        reason=result.reason,
        notes=notes,
        baseline=baseline.value,
        candidate=candidate.value,
        worsening=result.worsening,
        limit=result.limit,
        detail=cell.detail,
    )


def _too_few(baseline: Value, candidate: Value, min_n: int) -> bool:
    return any(side.n is not None and side.n < min_n for side in (baseline, candidate))


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
