"""A project's rules, versioned: tolerances, limits, bands (RULES.md; every default is stated here once)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Combine(StrEnum):
    """To regress, `all` tolerances given must be exceeded (their max), or `any` one (their min)."""

    ALL = "all"
    ANY = "any"


class ScopeKind(StrEnum):
    """What a rule speaks of: the overall, one tier's aggregate, one group, or every group (of a tier)."""

    OVERALL = "overall"
    TIER = "tier"
    GROUP = "group"
    EACH = "each"


class Severity(StrEnum):
    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """A rule's scope. name: the tier or group; for `each` its tier, or None for every group."""

    kind: ScopeKind
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One `[[rule]]`: a tolerance for a regression check, or (with max or min) a limit.

    Args:
        suite, metric: What it applies to; None means every one.
        scope: None: for tolerances all cells of the metric, for limits the overall.
        required: None leaves the default (primary metrics required, a limit as its severity says).
        max, min: Inclusive, in the metric's unit.
        points: For a limit on a metric that is logged during training: how many points in a row must break it. None
            leaves DEFAULT_POINTS, and then only once the metric had met it.
    """

    suite: str | None = None
    metric: str | None = None
    scope: Scope | None = None
    required: bool | None = None
    rel_tol: float | None = None
    abs_tol: float | None = None
    max: float | None = None
    min: float | None = None
    unit: str | None = None
    severity: Severity = Severity.FAIL
    points: int | None = None

    @property
    def is_limit(self) -> bool:
        return self.max is not None or self.min is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapBand:
    """Where val − train (in the worse direction) should lie; relative divides by |val|."""

    min: float | None = None
    max: float | None = None
    relative: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a project asks of a result.

    Args:
        rel_tol: Dimensionless share of the scale; abs_tol: in the metric's unit, None for none.
        min_n: Fewest samples a group needs on either side to be judged.
        zero_tol: A scale up to this counts as zero.
        min_seeds: From how many seeds of the champion's recipe on, itself among them, their spread is known.
        confidence: One-sided, of the t interval that a change must leave to be more than seed noise.
        trend_factor: How many times the limit the best champion of a cell's history may be missed by.
        volatile: Shell patterns of config keys that do not belong to the recipe.
    """

    version: int = 0
    rel_tol: float | None = 0.10
    abs_tol: float | None = None
    combine: Combine = Combine.ALL
    improve_tol: float = 0.05
    min_n: int = 30
    zero_tol: float = 1e-12
    min_seeds: int = 3
    confidence: float = 0.99
    trend_factor: float = 1.5
    volatile: tuple[str, ...] = ("*dir*", "*path*", "host*", "name", "*_id")
    gap: GapBand | None = None
    rules: tuple[PolicyRule, ...] = ()
