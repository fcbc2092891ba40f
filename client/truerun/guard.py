"""Stopping a training early when a protected group gets worse, however well the average does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from truerun.manners import WrongCall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    value: float
    step: int


class GroupGuard:
    """Watches protected groups against the best that each has been, or against what it is given.

    A training whose overall error falls while easy cases get several times worse looks like a success to every monitor
    of an average; this one says stop, and why.

    Args:
        threshold: How much worse is too much, relative: 0.1 is 10 %.
        patience: After so many updates in a row; another group may be the one each time.
        protected: Names of groups; None protects all.
        higher_is_better: Metrics where more is better; for all others less is.
        baseline: By group and metric, such as the champion's values: then these are what is compared with.

    >>> guard = GroupGuard(threshold=0.1, patience=2)
    >>> guard.update(1, {"easy": {"mse": 0.10}, "hard": {"mse": 0.9}})
    False
    >>> guard.update(2, {"easy": {"mse": 0.12}, "hard": {"mse": 0.5}})
    False
    >>> guard.update(3, {"easy": {"mse": 0.13}, "hard": {"mse": 0.3}})
    True
    >>> guard.reason
    'group easy: mse 30.0 % worse than its best 0.1 (step 1), 2 updates in a row'
    """

    def __init__(
        self,
        *,
        threshold: float = 0.1,
        patience: int = 3,
        protected: Sequence[str] | None = None,
        higher_is_better: Sequence[str] = (),
        baseline: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        if not (threshold >= 0 and math.isfinite(threshold)):
            raise WrongCall("threshold", f"threshold must be a share ≥ 0, such as 0.1, not {threshold!r}")
        if patience < 1:
            raise WrongCall("patience", f"patience must be at least 1, not {patience!r}")
        self.reason = ""
        self._threshold = threshold
        self._patience = patience
        self._protected = None if protected is None else frozenset(protected)
        self._higher = frozenset(higher_is_better)
        self._baseline = baseline
        self._best: dict[tuple[str, str], _Best] = {}
        self._seen: set[tuple[str, str]] = set()
        self._in_a_row = 0

    def update(self, step: int, groups: Mapping[str, Mapping[str, float]]) -> bool:
        """Look at one evaluation; whether to stop.

        Args:
            groups: Values by group and metric. NaN is worse than anything; a protected group that was there and is
                missing counts as worse too.
        """
        worst: tuple[float, str] | None = None
        for group, metric, value in self._watched(groups):
            reference = self._reference(group, metric, value, step)
            if reference is None:
                continue
            worsening = self._worsening(metric, value, reference.value)
            if worsening > self._threshold * (1 + 1e-9) and (worst is None or worsening > worst[0]):
                worst = (worsening, self._told(group, metric, value, worsening, reference))
        self._in_a_row = 0 if worst is None else self._in_a_row + 1
        if worst is None or self._in_a_row < self._patience:
            return False
        times = "" if self._patience == 1 else f", {self._in_a_row} updates in a row"
        self.reason = f"{worst[1]}{times}"
        return True

    def _watched(self, groups: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, float]]:
        found = [
            (group, metric, float(value))
            for group, metrics in groups.items()
            if self._protected is None or group in self._protected
            for metric, value in metrics.items()
        ]
        there = {(group, metric) for group, metric, _ in found}
        missing = [(group, metric, math.nan) for group, metric in sorted(self._seen - there)]
        self._seen |= there
        return found + missing

    def _reference(self, group: str, metric: str, value: float, step: int) -> _Best | None:
        if self._baseline is not None:
            given = self._baseline.get(group, {}).get(metric)
            return None if given is None else _Best(value=given, step=-1)
        best = self._best.get((group, metric))
        is_better = best is None or (value > best.value if metric in self._higher else value < best.value)
        if math.isfinite(value) and is_better:
            self._best[group, metric] = _Best(value=value, step=step)
            return None
        return best

    def _worsening(self, metric: str, value: float, reference: float) -> float:
        if math.isnan(value):
            return math.inf
        worse = reference - value if metric in self._higher else value - reference
        if worse <= 0:
            return 0.0
        return worse / abs(reference) if reference else math.inf

    def _told(self, group: str, metric: str, value: float, worsening: float, reference: _Best) -> str:
        against = (
            f"the baseline's {reference.value:.4g}"
            if reference.step < 0 and self._baseline is not None
            else f"its best {reference.value:.4g} (step {reference.step})"
        )
        if math.isnan(value):
            return f"group {group}: {metric} is missing or no number; {against}"
        share = f"{100 * worsening:.1f} % worse" if math.isfinite(worsening) else f"worse ({value:.4g})"
        return f"group {group}: {metric} {share} than {against}"
