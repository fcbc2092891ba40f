"""One side of a comparison: an evaluation's values by metric and group, looked through once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.evaluations import OVERALL, Evaluation, Value
from app.domain.metrics import Metric
from app.domain.suites import Suite, is_reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """An evaluation's values of the metrics that the suite knows, in the groups they apply to.

    Args:
        by_group: metric → group → value.
        whole: metric → the measured or stated overall; for a metric that pools and has group values this is a
            claim to reconcile, never the server's own number.
        groups: Every group that has a value of any metric.
    """

    evaluation: Evaluation
    by_group: Mapping[str, Mapping[str, Value]]
    whole: Mapping[str, Value]
    groups: frozenset[str]

    def of(self, metric: Metric) -> Mapping[str, Value]:
        """The metric's value by group; {} when there is none."""
        return self.by_group.get(metric.name, {})

    def has(self, metric: Metric) -> bool:
        return metric.name in self.by_group or metric.name in self.whole


def readings_of(suite: Suite, evaluation: Evaluation) -> Readings:
    metrics = {metric.name: metric for metric in suite.metrics}
    by_group: dict[str, dict[str, Value]] = {}
    whole: dict[str, Value] = {}
    reserved = {name for name in {value.group for value in evaluation.values} if is_reserved(name)}
    for value in evaluation.values:
        name, group = value.metric, value.group
        metric = metrics.get(name)
        if metric is None:
            continue
        if group in reserved:
            if group == OVERALL:
                whole[name] = value
        elif metric.groups is None or group in metric.groups:
            if name not in by_group:
                by_group[name] = {}
            by_group[name][group] = value
    for name, number in evaluation.stated.overall.items():
        if name in metrics and name not in whole:
            whole[name] = Value(metric=name, group=OVERALL, value=number, n=evaluation.stated.n)
    return Readings(
        evaluation=evaluation,
        by_group=by_group,
        whole=whole,
        groups=frozenset(group for values in by_group.values() for group in values),
    )


def groups_of(suite: Suite, metric: Metric, *sides: Readings) -> tuple[str, ...]:
    """Every group that the suite lists for the metric, in its order, then either side's others, by name."""
    listed = [group.name for group in suite.groups if metric.groups is None or group.name in metric.groups]
    if not listed:
        listed = list(metric.groups or ())
    known = set(listed)
    posted = {group for side in sides for group in side.of(metric)} - known
    return (*listed, *sorted(posted))
