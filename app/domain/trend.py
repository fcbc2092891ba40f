"""Creep: many steps, each small enough to pass, against the best champion so far (RULES.md, *Trend*)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.domain.bouts import Bout
from app.domain.cells import Cell, compared, is_comparable, numbers_of
from app.domain.comparison import difference
from app.domain.evaluations import Bound
from app.domain.kin import Champion, Sibling
from app.domain.lineup import difference_of
from app.domain.metrics import Metric
from app.domain.outcomes import Check, Json, Outcome, Rule
from app.domain.policy import Policy
from app.domain.readings import Readings
from app.domain.scaling import clamped, unscaled
from app.domain.suites import TIER_PREFIX, Suite, is_reserved
from app.domain.tolerances import Terms, Tolerances


class Trend:
    """The champions of the past, oldest first, looked through once."""

    def __init__(
        self,
        suite: Suite,
        ours: Readings,
        siblings: tuple[Sibling, ...],
        current: Champion | None,
        history: Iterable[Champion],
        policy: Policy,
    ) -> None:
        known = {ours.evaluation.id} | (set() if current is None else {current.evaluation.id})
        past = () if current is None else history
        self._factor = policy.trend_factor
        self._bouts = [
            (champion, Bout(suite, ours, siblings, champion, policy))
            for champion in past
            if champion.evaluation.id not in known
        ]

    def __bool__(self) -> bool:
        return bool(self._bouts)

    def check(self, cell: Cell) -> Check | None:
        """The cell against the best of its champions, with trend_factor times the limit.

        None where the current champion is the best, which the regression check has compared with more
        strictly, where the gate does not depend on the cell, or where no earlier champion compares.
        """
        if not cell.terms.required:
            return None
        best, most_worse, found = None, _worse(cell), None
        for champion, bout in self._bouts:
            earlier = _cell_of(bout, cell)
            worse = None if earlier is None else _worse(earlier)
            if worse is not None and (most_worse is None or worse > most_worse):
                best, most_worse, found = champion, worse, earlier
        if best is None or found is None:
            return None
        return self._judged(found, best)

    def group_checks(
        self, current: Bout, metric: Metric, groups: list[str], terms: list[Terms]
    ) -> list[Check]:
        """The same for many groups at once: only cells with something unusual in them are looked at singly."""
        now = current.lineup(metric, groups)
        if now is None:
            return []
        most_worse = difference_of(metric, now.baseline, now.candidate, Tolerances())[0]
        unusual = ~now.plain
        best = np.full(len(groups), -1)
        for i, (_, bout) in enumerate(self._bouts):
            then = bout.lineup(metric, groups)
            if then is None:
                continue
            worse = difference_of(metric, then.baseline, then.candidate, Tolerances())[0]
            unusual |= ~then.plain & ~then.incomparable
            with np.errstate(invalid="ignore"):
                is_best = then.plain & now.plain & (worse > most_worse)
            best, most_worse = np.where(is_best, i, best), np.where(is_best, worse, most_worse)
        found = self._judged_at_once(metric, groups, terms, np.where(unusual, -1, best))
        for j in np.flatnonzero(unusual).tolist():
            found[j] = self.check(current.group_cell(metric, groups[j], terms[j]))
        return [check for check in found if check is not None]

    def _judged_at_once(
        self, metric: Metric, groups: list[str], terms: list[Terms], best: NDArray[np.intp]
    ) -> list[Check | None]:
        """Each group against its best champion; -1 where there is none."""
        found: list[Check | None] = [None] * len(groups)
        for i, (champion, bout) in enumerate(self._bouts):
            chosen = [j for j in np.flatnonzero(best == i).tolist() if terms[j].required]
            if not chosen:
                continue
            names, widened = [groups[j] for j in chosen], {id(t): self._widened(t) for t in terms}
            checks = bout.group_checks(metric, names, [widened[id(terms[j])] for j in chosen])
            for j, check in zip(chosen, checks, strict=True):
                if check is None:
                    check = compared(bout.group_cell(metric, groups[j], widened[id(terms[j])]))
                found[j] = _as_trend(check, terms[j], champion)
        return found

    def _judged(self, cell: Cell, best: Champion) -> Check:
        check = compared(replace(cell, terms=self._widened(cell.terms)))
        return _as_trend(check, cell.terms, best)

    def _widened(self, terms: Terms) -> Terms:
        rel_tol, abs_tol = terms.tolerances.rel_tol, terms.tolerances.abs_tol
        widened = replace(
            terms.tolerances,
            rel_tol=None if rel_tol is None else self._factor * rel_tol,
            abs_tol=None if abs_tol is None else clamped(self._factor * abs_tol),
        )
        return replace(terms, tolerances=widened)


def _as_trend(check: Check, terms: Terms, best: Champion) -> Check:
    better = check.outcome is Outcome.IMPROVED or "looks_better" in check.notes
    outcome = Outcome.PASS if better else check.outcome
    champion: dict[str, Json] = {"evaluation": best.evaluation.id, "run": best.evaluation.run}
    return replace(
        check,
        rule=Rule.TREND,
        outcome=outcome,
        required=terms.required,
        reason="creep" if outcome is Outcome.REGRESSED else None if better else check.reason,
        detail={**check.detail, "champion": champion},
    )


def _cell_of(bout: Bout, cell: Cell) -> Cell | None:
    """The same cell against another champion."""
    if not is_reserved(cell.group):
        return bout.group_cell(cell.metric, cell.group, cell.terms)
    if cell.group.startswith(TIER_PREFIX):
        return bout.tier_cell(cell.metric, cell.group.removeprefix(TIER_PREFIX), cell.terms)
    return bout.overall_cell(cell.metric, cell.terms)


def _worse(cell: Cell) -> float | None:
    """How much worse than its baseline the candidate is, in the metric's unit; None where nothing can say."""
    numbers = numbers_of(cell) if is_comparable(cell) else None
    if numbers is None or cell.baseline is None or cell.baseline.bound is not Bound.EXACT:
        return None
    found = difference(cell.metric, *numbers, cell.terms.tolerances)
    return unscaled(found.worse, found.exponent)
