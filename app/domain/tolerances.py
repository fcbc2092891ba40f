"""Which tolerance and which requirement of the policy applies to a cell.

A rule's scope picks cells; where several rules speak of one, the most specific scope wins, field by field (a
named group, tier or the overall before `each` of a tier before `each` before no scope), and among equals the
later rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.metrics import Metric, Role
from app.domain.policy import Combine, Policy, PolicyRule, Scope, ScopeKind
from app.domain.suites import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What counts as worse, improved, enough samples, zero and noise, in one cell (meanings as in Policy)."""

    rel_tol: float | None = 0.10
    abs_tol: float | None = None
    combine: Combine = Combine.ALL
    improve_tol: float = 0.05
    min_n: int = 30
    zero_tol: float = 1e-12
    min_seeds: int = 3
    confidence: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms on which one cell is judged.

    Args:
        required: Whether the gate depends on it.
        demanded: Whether a rule that names this very group, tier or overall (or each group) says `required`:
            then too few samples hold the gate up as well, and a secondary metric is judged there too.
    """

    tolerances: Tolerances
    required: bool
    demanded: bool = False


class TermsBook:
    """The terms of one metric's cells under one policy."""

    def __init__(self, policy: Policy, suite: Suite, metric: Metric) -> None:
        self._policy = policy
        self._role = metric.role
        self._rules = tuple(
            rule
            for rule in policy.rules
            if not rule.is_limit and rule.suite in (None, suite.key) and rule.metric in (None, metric.name)
        )
        self._known: dict[tuple[bool, tuple[tuple[int, int], ...]], Terms] = {}
        self._plain = {required: self._resolved((), required) for required in (True, False)}

    @property
    def is_plain(self) -> bool:
        """Whether no rule speaks of the metric, so that every cell has the terms of its overall."""
        return not self._rules

    def of_group(self, group: str, tier: str | None) -> Terms:
        required = self._role is Role.PRIMARY
        if not self._rules:
            return self._plain[required]
        return self._resolved(self._ranked(lambda scope: _rank_for_group(scope, group, tier)), required)

    def of_tier(self, tier: str) -> Terms:
        required = self._role is Role.PRIMARY
        if not self._rules:
            return self._plain[required]
        return self._resolved(self._ranked(lambda scope: _rank_exact(scope, ScopeKind.TIER, tier)), required)

    def of_overall(self) -> Terms:
        required = self._role is Role.PRIMARY
        if not self._rules:
            return self._plain[required]
        return self._resolved(
            self._ranked(lambda scope: _rank_exact(scope, ScopeKind.OVERALL, None)), required
        )

    def _ranked(self, rank: Callable[[Scope | None], int]) -> tuple[tuple[int, PolicyRule], ...]:
        """The rules that speak of the cell with their ranks, least specific first; equals in order."""
        speaking = ((rank(rule.scope), rule) for rule in self._rules)
        return tuple(sorted((pair for pair in speaking if pair[0] >= 0), key=lambda pair: pair[0]))

    def _resolved(self, ranked: tuple[tuple[int, PolicyRule], ...], required: bool) -> Terms:
        """One object for all cells that the same rules speak of, so that they can be judged together."""
        key = required, tuple((rank, id(rule)) for rank, rule in ranked)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._settled(ranked, required)
        return known

    def _settled(self, ranked: tuple[tuple[int, PolicyRule], ...], required: bool) -> Terms:
        rel_tol, abs_tol, demanded = self._policy.rel_tol, self._policy.abs_tol, False
        for rank, rule in ranked:
            rel_tol = rel_tol if rule.rel_tol is None else rule.rel_tol
            abs_tol = abs_tol if rule.abs_tol is None else rule.abs_tol
            if rule.required is not None:
                required, demanded = rule.required, rule.required and rank > 0
        return Terms(
            tolerances=Tolerances(
                rel_tol=rel_tol,
                abs_tol=abs_tol,
                combine=self._policy.combine,
                improve_tol=self._policy.improve_tol,
                min_n=self._policy.min_n,
                zero_tol=self._policy.zero_tol,
                min_seeds=self._policy.min_seeds,
                confidence=self._policy.confidence,
            ),
            required=required,
            demanded=demanded,
        )


def _rank_for_group(scope: Scope | None, group: str, tier: str | None) -> int:
    if scope is None:
        return 0
    if scope.kind is ScopeKind.GROUP:
        return 3 if scope.name == group else -1
    if scope.kind is ScopeKind.EACH:
        if scope.name is None:
            return 1
        return 2 if scope.name == tier else -1
    return -1


def _rank_exact(scope: Scope | None, kind: ScopeKind, name: str | None) -> int:
    if scope is None:
        return 0
    return 3 if scope.kind is kind and (name is None or scope.name == name) else -1
