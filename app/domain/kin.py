"""Siblings: the runs of one recipe, whose spread is the seed noise (RULES.md, *Noise*, first paragraph)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.cells import is_too_few, unusable
from app.domain.evaluations import OVERALL, Bound, Evaluation, Value
from app.domain.figures import Figures, Flags, differing_in, figures_of
from app.domain.lineup import Crowd
from app.domain.metrics import Metric, Pooling
from app.domain.policy import Policy
from app.domain.readings import Readings, readings_of
from app.domain.suites import Comparability, Suite
from app.domain.weighing import Weighing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """Another run of the same recipe, by its latest candidate evaluation on the same suite and stage."""

    evaluation: Evaluation
    suite: Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """A baseline, present or past: an evaluation and the suite version it was made on.

    Args:
        siblings: The other valid runs of its recipe, without itself, sorted by evaluation id.
    """

    evaluation: Evaluation
    suite: Suite
    siblings: tuple[Sibling, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Which siblings stand on which side of a comparison; no run stands on both.

    Args:
        same_recipe: Whether the candidate is itself a seed of the champion's recipe. Then its siblings are the
            champion's, and it is judged alone: by what it adds to itself nothing could be told apart.
    """

    champion: tuple[Sibling, ...]
    candidate: tuple[Sibling, ...]
    same_recipe: bool


def sides_of(candidate: Evaluation, siblings: Iterable[Sibling], champion: Champion) -> Sides:
    ours = tuple(siblings)
    others = tuple(s for s in champion.siblings if s.evaluation.run != candidate.run)
    of_champion = {champion.evaluation.run, *(s.evaluation.run for s in champion.siblings)}
    same_recipe = len(others) < len(champion.siblings) or any(s.evaluation.run in of_champion for s in ours)
    return Sides(champion=others, candidate=() if same_recipe else ours, same_recipe=same_recipe)


class Kin:
    """The siblings of one side, looked through once, then asked cell by cell for the values that count.

    A value counts where its suite version's cell compares with the judging suite's, and it is exact, finite,
    possible, and not of too few samples.
    """

    def __init__(self, suite: Suite, siblings: Iterable[Sibling], policy: Policy) -> None:
        self._policy = policy
        self._members = [
            (readings_of(sibling.suite, sibling.evaluation), Comparability(sibling.suite, suite))
            for sibling in siblings
        ]

        self._figures: dict[tuple[str, tuple[str, ...]], list[tuple[Figures, Flags]]] = {}
        self._aggregates: dict[tuple[str, str], tuple[float, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._members)

    def in_group(self, metric: Metric, group: str) -> tuple[float, ...]:
        return tuple(
            value.value
            for readings, comparability in self._members
            if (value := readings.of(metric).get(group)) is not None
            and not comparability.fields(metric.name, group)
            and self._counts(metric, value)
        )

    def crowd(self, metric: Metric, groups: Sequence[str], own: Figures) -> Crowd:
        """The seeds of many groups at once, with the side's own numbers."""
        rows, odd = [np.where(own.plain, own.numbers, np.nan)], np.zeros(len(groups), dtype=np.bool_)
        for figures, comparable in self._figures_of(metric, tuple(groups)):
            rows.append(np.where(figures.plain & comparable, figures.numbers, np.nan))
            odd |= figures.odd & comparable
        return Crowd(numbers=np.array(rows), odd=odd)

    def in_whole(self, metric: Metric) -> tuple[float, ...]:
        """The measured or stated overall, of siblings that have no groups of a metric that pools."""
        return tuple(
            value.value
            for readings, comparability in self._members
            if (value := readings.whole.get(metric.name)) is not None
            and not (metric.pooling is not Pooling.NONE and readings.of(metric))
            and not comparability.fields(metric.name, OVERALL)
            and self._counts(metric, value)
        )

    def in_aggregate(
        self, metric: Metric, name: str, groups: tuple[str, ...], weighing: Weighing
    ) -> tuple[float, ...]:
        """The aggregate of each sibling that has all that is weighed, exact, possible and comparable.

        Args:
            groups: All groups of the metric, those that are weighed among them.
        """
        known = self._aggregates.get((metric.name, name))
        if known is None:
            known = self._aggregates[metric.name, name] = self._pooled(metric, name, groups, weighing)
        return known

    def _pooled(
        self, metric: Metric, name: str, groups: tuple[str, ...], weighing: Weighing
    ) -> tuple[float, ...]:
        pooling = Pooling.MEAN if name == "macro" else metric.pooling
        where = weighing.positions_in(groups)
        found = []
        for (readings, comparability), (figures, comparable) in zip(
            self._members, self._figures_of(metric, groups), strict=True
        ):
            if comparability.fields(metric.name, name):
                continue
            whole = None
            if (figures.possible & comparable)[where].all():
                rows = [row for i in where.tolist() if (row := figures.rows[i]) is not None]
                whole = weighing.pool(rows, pooling, figures.numbers[where])
            elif figures.odd[where].any():
                values = self._exact(readings, comparability, metric, weighing.groups)
                whole = None if values is None else weighing.pool(values, pooling)
            if whole is not None and self._counts(metric, whole):
                found.append(whole.value)
        return tuple(found)

    def _figures_of(self, metric: Metric, groups: tuple[str, ...]) -> list[tuple[Figures, Flags]]:
        """Each sibling's values of those groups, and where they compare."""
        known = self._figures.get((metric.name, groups))
        if known is None:
            known = self._figures[metric.name, groups] = [
                (
                    figures_of(metric, readings.of(metric), groups, self._policy),
                    ~differing_in(comparability, metric, groups),
                )
                for readings, comparability in self._members
            ]
        return known

    def _exact(
        self, readings: Readings, comparability: Comparability, metric: Metric, groups: Sequence[str]
    ) -> list[Value] | None:
        values = []
        for group in groups:
            value = readings.of(metric).get(group)
            if (
                value is None
                or value.bound is not Bound.EXACT
                or unusable(metric, value, self._policy.zero_tol) is not None
                or comparability.fields(metric.name, group)
            ):
                return None
            values.append(value)
        return values

    def _counts(self, metric: Metric, value: Value) -> bool:
        return (
            value.bound is Bound.EXACT
            and unusable(metric, value, self._policy.zero_tol) is None
            and not is_too_few(value, self._policy.min_n)
        )
