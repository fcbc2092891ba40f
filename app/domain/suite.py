"""One suite version: its groups, its metrics, and how its groups weigh (RULES.md, *Aggregates*)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.evaluations import Evaluation
from app.domain.metrics import Metric, Role

RESERVED_GROUPS = frozenset({"overall", "macro", "worst"})
TIER_PREFIX = "tier:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A slice of the data.

    Args:
        definition: What selects the slice, if the team wrote it down; a change makes the group incomparable.
        weight: Share in pooled aggregates, relative to the other groups' weights; all groups have one or none
            has.
        label: For people; changes nothing.
    """

    name: str
    tier: str | None = None
    weight: float | None = None
    definition: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One version of a suite.

    Args:
        frozen_weights: The n shares of the suite's first champion (until then of its first evaluation), used
            where groups carry no weight; empty when every n was unknown: equal weights.
    """

    key: str
    version: int
    dataset: str = ""
    dataset_version: str = ""
    split: str = ""
    protocol: str = ""
    groups: tuple[Group, ...] = ()
    metrics: tuple[Metric, ...]
    frozen_weights: Mapping[str, float] = field(default_factory=dict)


def is_reserved(group: str) -> bool:
    """Whether the name is kept for aggregates: overall, macro, worst, tier:…"""
    return group in RESERVED_GROUPS or group.startswith(TIER_PREFIX)


def lead_metric(suite: Suite) -> Metric | None:
    """The first primary metric; None when the suite only has secondary metrics and limits."""
    return next((metric for metric in suite.metrics if metric.role is Role.PRIMARY), None)


def find_metric(suite: Suite, name: str) -> Metric | None:
    return next((metric for metric in suite.metrics if metric.name == name), None)


def tiers_of(suite: Suite) -> tuple[str, ...]:
    """The tiers in the order their first groups are listed."""
    return tuple(dict.fromkeys(group.tier for group in suite.groups if group.tier is not None))


def has_explicit_weights(suite: Suite) -> bool:
    return any(group.weight is not None for group in suite.groups)


def weights(suite: Suite) -> Mapping[str, float]:
    """Share of each group in pooled aggregates (RULES.md, *Aggregates*); the shares sum to 1.

    The weights of the suite's groups; without any, the frozen n shares; without those, equal shares of the
    listed groups. A group that is not in here is not pooled, except where the result is empty: a suite that
    lists no groups and froze nothing pools whatever groups there are, equally.
    """
    if has_explicit_weights(suite):
        return normalised({group.name: group.weight or 0.0 for group in suite.groups})
    if suite.frozen_weights:
        return normalised(suite.frozen_weights)
    return normalised(dict.fromkeys((group.name for group in suite.groups), 1.0))


def normalised(amounts: Mapping[str, float]) -> dict[str, float]:
    kept = {name: amount for name, amount in amounts.items() if amount > 0.0}
    if not kept:
        return {}
    largest = max(kept.values())
    relative = {name: amount / largest for name, amount in kept.items()}
    whole = math.fsum(relative.values())
    return {name: amount / whole for name, amount in relative.items()}


def counts_of(evaluation: Evaluation, suite: Suite) -> dict[str, int | None]:
    """How many samples each group of the lead metric holds: the largest n that any metric states.

    A suite without a lead metric, or an evaluation without its values, counts the groups of all metrics. None
    where no metric states an n.
    """
    lead = lead_metric(suite)
    counts: dict[str, int | None] = {}
    of_lead: set[str] = set()
    name = None if lead is None else lead.name
    reserved = {group for group in {value.group for value in evaluation.values} if is_reserved(group)}
    for value in evaluation.values:
        group, n = value.group, value.n
        if group in reserved:
            continue
        known = counts.get(group)
        if known is None or (n is not None and n > known):
            counts[group] = n
        if value.metric == name and lead is not None and (lead.groups is None or group in lead.groups):
            of_lead.add(group)
    return {group: n for group, n in counts.items() if group in of_lead} if of_lead else counts


def shares_of(evaluation: Evaluation, suite: Suite) -> dict[str, float]:
    """The n shares that a suite without weights freezes; {} when no n is known: equal weights.

    A group whose n alone is unknown counts as the mean of the known ones, so that it does not vanish from the
    overall.
    """
    counts = counts_of(evaluation, suite)
    known = [n for n in counts.values() if n is not None]
    if not known or sum(known) <= 0:
        return {}
    mean = sum(known) / len(known)
    return normalised({group: mean if n is None else float(n) for group, n in counts.items()})
