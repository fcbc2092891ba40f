"""Which cells of two suite versions mean the same (RULES.md, *One metric, one group*, last paragraph).

Dataset, split, protocol and that metric's and group's definition must be the same. Labels, order and
additions keep the champion; changed weights make aggregates incomparable.
"""

from __future__ import annotations

import hashlib
import json
import math

from app.domain.metrics import Metric, Pooling
from app.domain.suite import (
    RESERVED_GROUPS,
    TIER_PREFIX,
    Group,
    Suite,
    has_explicit_weights,
    is_reserved,
    normalised,
    tiers_of,
    weights,
)

_SUITE_FIELDS = ("dataset", "dataset_version", "split", "protocol")
_METRIC_FIELDS = ("direction", "pooling", "target", "ideal", "unit", "scale")


def cell_digest(suite: Suite, metric_name: str, group: str) -> bytes | None:
    """16 bytes that name what a number means: equal digests may be ranked together.

    In it: dataset, its version, split, protocol, the metric's definition, the group's definition, and for
    pooled aggregates (`overall`, `tier:x`) the explicit weights. Not in it: labels, order, role, tiers,
    frozen weights (they change with the first champion), nor the list of groups, so that an addition keeps
    the champion.

    Returns:
        None for a metric that the suite has not.
    """
    return CellDigests(suite).of(metric_name, group)


class CellDigests:
    """The digests of one suite's cells; looks the suite through once, and works each listed cell out once.

    Several threads may ask: what two of them work out at the same time is the same.
    """

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._groups = {group.name: group for group in suite.groups}
        self._shares = weights(suite) if has_explicit_weights(suite) else {}
        self._metrics = {metric.name: metric for metric in reversed(suite.metrics)}
        self._prefixes: dict[str, str] = {}
        self._of_groups: dict[str, str] = {}
        tiers = [f"{TIER_PREFIX}{tier}" for tier in tiers_of(suite)]
        self._listed = {*self._groups, *RESERVED_GROUPS, *tiers}
        self._known: dict[tuple[str, str], bytes] = {}

    @property
    def most(self) -> int:
        """How many digests are kept at most."""
        return len(self._metrics) * len(self._listed)

    def of(self, metric_name: str, group: str) -> bytes | None:
        """As `cell_digest`."""
        known = self._known.get((metric_name, group))
        if known is not None:
            return known
        found = self._worked_out(metric_name, group)
        # Groups that no suite lists may be any number.
        if found is not None and group in self._listed:
            self._known[metric_name, group] = found
        return found

    def _worked_out(self, metric_name: str, group: str) -> bytes | None:
        metric = self._metrics.get(metric_name)
        if metric is None:
            return None
        prefix = self._prefixes.get(metric_name)
        if prefix is None:
            whole = [getattr(self._suite, name) for name in _SUITE_FIELDS]
            prefix = json.dumps([whole, metric.name, [getattr(metric, name) for name in _METRIC_FIELDS]])
            self._prefixes[metric_name] = prefix
        meaning = prefix + self._text_of_group(metric, group)
        return hashlib.blake2b(meaning.encode(), digest_size=16).digest()

    def _text_of_group(self, metric: Metric, group: str) -> str:
        known = self._of_groups.get(group)
        if known is None:
            known = json.dumps([group, self._meaning_of_group(metric, group)])
            if group in self._groups and not is_reserved(group):
                # A group means the same for every metric; an aggregate depends on how the metric pools.
                self._of_groups[group] = known
        return known

    def _meaning_of_group(self, metric: Metric, group: str) -> object:
        if not is_reserved(group):
            member = self._groups.get(group)
            return None if member is None else member.definition
        if group == "macro" or metric.pooling is Pooling.NONE or not self._shares:
            return None
        members = {
            name: self._shares[name] for name, member in self._groups.items() if _belongs(member, group)
        }
        return sorted(normalised(members).items())


def _belongs(member: Group, aggregate: str) -> bool:
    return not aggregate.startswith(TIER_PREFIX) or member.tier == aggregate.removeprefix(TIER_PREFIX)


def differing_fields(a: Suite, b: Suite, metric: str, group: str) -> tuple[str, ...]:
    """What makes a cell of one suite incomparable with the same cell of the other; () when they compare."""
    return Comparability(a, b).fields(metric, group)


class Comparability:
    """Two suite versions, looked through once, then asked cell by cell."""

    def __init__(self, a: Suite, b: Suite) -> None:
        self.whole = tuple(name for name in _SUITE_FIELDS if getattr(a, name) != getattr(b, name))
        self._same = a is b or (a.groups == b.groups and a.metrics == b.metrics)
        self._metrics = ({m.name: m for m in a.metrics}, {m.name: m for m in b.metrics})
        self._groups = ({g.name: g for g in a.groups}, {g.name: g for g in b.groups})
        self._weights = () if self._same else _differing_weights(a, b)

    @property
    def is_total(self) -> bool:
        """Whether every cell compares."""
        return self._same and not self.whole

    def fields(self, metric: str, group: str) -> tuple[str, ...]:
        """What differs: `dataset`, `split`, …, `metric`, `unit`, …, `definition`, `weights`, `tier`."""
        if self.is_total:
            return ()
        return self.whole + self._of_metric(metric) + self._of_group(metric, group)

    def _of_metric(self, name: str) -> tuple[str, ...]:
        a, b = (metrics.get(name) for metrics in self._metrics)
        if a is None or b is None:
            return () if a is b else ("metric",)
        return tuple(field for field in _METRIC_FIELDS if getattr(a, field) != getattr(b, field))

    def _of_group(self, metric: str, name: str) -> tuple[str, ...]:
        ours, theirs = self._groups
        if not is_reserved(name):
            a, b = ours.get(name), theirs.get(name)
            return () if (a and a.definition) == (b and b.definition) else ("definition",)
        known = self._metrics[1].get(metric)
        if name == "macro" or known is None or known.pooling is Pooling.NONE:
            return ()
        moved = any(_belongs(ours[g], name) != _belongs(theirs[g], name) for g in ours.keys() & theirs.keys())
        return self._weights + (("tier",) if moved else ())


def _differing_weights(a: Suite, b: Suite) -> tuple[str, ...]:
    """`weights` when only one suite weighs its groups, or they weigh common groups differently.

    Only proportions count, so that adding a group keeps the champion.
    """
    if has_explicit_weights(a) != has_explicit_weights(b):
        return ("weights",)
    if not has_explicit_weights(a):
        return ()
    ours, theirs = weights(a), weights(b)
    common = sorted(ours.keys() & theirs.keys())
    left, right = normalised({g: ours[g] for g in common}), normalised({g: theirs[g] for g in common})
    return () if all(math.isclose(left[g], right[g], rel_tol=1e-9) for g in common) else ("weights",)
