"""An evaluation as it is sent: what the suite is, what was measured, what the run itself claims."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from truerun.arrays import scalar_of
from truerun.manners import WrongCall

OVERALL = "overall"
BOUNDS = ("exact", "at_least", "at_most")
PURPOSES = ("candidate", "progress")

MetricSpecs: TypeAlias = "Mapping[str, str | Mapping[str, Any] | None] | Sequence[str]"
GroupSpecs: TypeAlias = "Sequence[str | Mapping[str, Any]] | Mapping[str, str | Mapping[str, Any] | None]"
TierSpecs: TypeAlias = "Mapping[str, str | Sequence[str]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric in one group, as in the service's `values`."""

    metric: str
    group: str
    value: float
    n: int | None = None
    stderr: float | None = None
    bound: str = "exact"

    def document(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "group": self.group,
            "value": self.value,
            "n": self.n,
            "stderr": self.stderr,
            "bound": self.bound,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What an evaluation is an evaluation of.

    Args:
        metrics, groups: Their definitions; used only if this post creates the suite.
        about: dataset, dataset_version, split and protocol, likewise.
    """

    suite: str
    stage: str = "final"
    step: int | None = None
    purpose: str = "candidate"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[Mapping[str, Any], ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group_names(self) -> tuple[str, ...]:
        return tuple(str(group["name"]) for group in self.groups)

    def pools_squares(self, metric: str) -> bool:
        """Whether samples of this metric pool as the root of their mean square."""
        spec = self.metrics.get(metric)
        stated = spec.get("pooling") if isinstance(spec, Mapping) else None
        return stated == "rms" if stated is not None else metric == "rmse"


def heading(
    suite: str,
    *,
    stage: str,
    step: int | None,
    purpose: str,
    metrics: MetricSpecs | None,
    groups: GroupSpecs | None,
    tiers: TierSpecs | None,
    about: Mapping[str, str | None],
    info: Mapping[str, Any] | None,
) -> Heading:
    """Read the arguments of `evaluation()`.

    Raises:
        WrongCall: One of them cannot be meant.
    """
    for name, value in (("suite", suite), ("stage", stage)):
        if not isinstance(value, str) or not value:
            raise WrongCall("heading", f"{name} must be a non-empty string, not {value!r}")
    if purpose not in PURPOSES:
        raise WrongCall("heading", f"purpose can be candidate or progress, not {purpose!r}")
    return Heading(
        suite=suite,
        stage=stage,
        step=None if step is None else _whole(step, "step"),
        purpose=purpose,
        metrics=_metric_documents(metrics),
        groups=tuple(_group_documents(groups, tiers)),
        about={key: value for key, value in about.items() if value is not None},
        info=dict(info or {}),
    )


def posting_document(
    heading: Heading,
    cells: Iterable[Cell],
    *,
    stated: Mapping[str, Any],
    loss: Mapping[str, Any],
    info: Mapping[str, Any],
    attempt_id: str | None,
) -> dict[str, Any]:
    """The body of the request; what is not known is left out."""
    document: dict[str, Any] = {
        "suite": heading.suite,
        "stage": heading.stage,
        "step": heading.step,
        "purpose": heading.purpose,
        "values": [cell.document() for cell in cells],
        "stated": dict(stated) or None,
        "loss": dict(loss) or None,
        "info": {**heading.info, **info} or None,
        "attempt_id": attempt_id,
        "metrics": dict(heading.metrics) or None,
        "groups": [dict(group) for group in heading.groups] or None,
        **heading.about,
    }
    return {key: value for key, value in document.items() if value is not None}


def stated_document(n: Any = None, overall: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the run states of the whole."""
    document: dict[str, Any] = {}
    if n is not None:
        document["n"] = _count(n)
    if overall:
        document["overall"] = {str(metric): scalar_of(value) for metric, value in overall.items()}
    return document


def loss_document(
    train: Any = None,
    val: Any = None,
    total: Any = None,
    parts: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The training's own bookkeeping, for the gap and the sum of the parts."""
    document: dict[str, Any] = {
        name: scalar_of(value)
        for name, value in (("train", train), ("val", val), ("total", total))
        if value is not None
    }
    for name, terms in (("parts", parts), ("weights", weights)):
        if terms:
            document[name] = {str(term): scalar_of(value) for term, value in terms.items()}
    return document


def cell(
    metric: str, group: str | None, value: Any, *, n: Any = None, stderr: Any = None, bound: str = "exact"
) -> Cell:
    """One measured number; no group means the whole."""
    if not isinstance(metric, str) or not metric:
        raise WrongCall("metric_name", f"a metric's name must be a non-empty string, not {metric!r}")
    if bound not in BOUNDS:
        raise WrongCall("bound", f"bound can be exact, at_least or at_most, not {bound!r}")
    return Cell(
        metric=metric,
        group=OVERALL if group is None else str(group),
        value=scalar_of(value),
        n=None if n is None else _count(n),
        stderr=None if stderr is None else scalar_of(stderr),
        bound=bound,
    )


def cells_of(values: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]] | None) -> list[Cell]:
    """The cells of `log_evaluation`: numbers of the whole, and by group.

    Each mapping goes from metric to a number, or to `{"value": …, "n": …, "stderr": …, "bound": …}`; an entry
    `n` gives the sample count of all its neighbours.
    """
    found = _cells_of_group(None, values)
    for group, measured in (groups or {}).items():
        if not isinstance(measured, Mapping):
            raise WrongCall(
                "groups",
                f'groups must look like {{"easy": {{"nrmse": 0.10, "n": 1800}}}}; {group!r} does not',
            )
        found.extend(_cells_of_group(group, measured))
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.metric, one.group) in seen:
            raise WrongCall("twice", f"{one.metric} of group {one.group!r} is given twice")
        seen.add((one.metric, one.group))
    return found


def _cells_of_group(group: str | None, measured: Mapping[str, Any]) -> list[Cell]:
    if not isinstance(measured, Mapping):
        raise WrongCall("values", f'values must look like {{"nrmse": 0.12}}, not {type(measured).__name__}')
    shared = measured.get("n")
    found: list[Cell] = []
    for metric, value in measured.items():
        if metric == "n":
            continue
        if isinstance(value, Mapping):
            unknown = set(value) - {"value", "n", "stderr", "bound"}
            if unknown or "value" not in value:
                raise WrongCall(
                    "values",
                    f"{metric} must be a number or have value, n, stderr, bound; not {sorted(value)}",
                )
            found.append(cell(metric, group, **{"n": shared, **value}))
        elif value is not None:
            found.append(cell(metric, group, value, n=shared))
    return found


def _metric_documents(metrics: MetricSpecs | None) -> dict[str, Any]:
    if metrics is None:
        return {}
    if isinstance(metrics, str):
        raise WrongCall("metrics", f'write metrics={{"{metrics}": "lower"}}')
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(name, None) for name in metrics]
    return {
        str(name): dict(spec) if isinstance(spec, Mapping) else {} if spec is None else str(spec)
        for name, spec in pairs
    }


def _group_documents(groups: GroupSpecs | None, tiers: TierSpecs | None) -> list[dict[str, Any]]:
    tier_of = _tier_by_group(tiers)
    listed = _listed_groups(list(tier_of) if groups is None else groups)
    for group in listed:
        if "name" not in group:
            raise WrongCall("groups", f"a group needs a name: {group!r}")
        if group["name"] in tier_of:
            group.setdefault("tier", tier_of[group["name"]])
    strangers = sorted(set(tier_of) - {group["name"] for group in listed})
    if strangers:
        raise WrongCall("groups", f"tiers name groups that are not in groups: {', '.join(strangers)}")
    return listed


def _tier_by_group(tiers: TierSpecs | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in (tiers or {}).items():
        if isinstance(value, str):
            found[str(key)] = value
        else:
            found |= {str(group): str(key) for group in value}
    return found


def _listed_groups(groups: GroupSpecs) -> list[dict[str, Any]]:
    if isinstance(groups, str):
        raise WrongCall("groups", f"groups must be a list of names, such as [{groups!r}]")
    if isinstance(groups, Mapping):
        return [
            {"name": str(name), **({"tier": spec} if isinstance(spec, str) else dict(spec or {}))}
            for name, spec in groups.items()
        ]
    return [dict(item) if isinstance(item, Mapping) else {"name": str(item)} for item in groups]


def _count(value: Any) -> int:
    # A count may arrive as a 0-d tensor or as 1800.0; half a sample cannot.
    number = scalar_of(value)
    if not number.is_integer() or number < 0:
        raise WrongCall("count", f"n must be a whole number of samples, not {value!r}")
    return int(number)


def _whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        number = scalar_of(value)
        if not number.is_integer():
            raise WrongCall(name, f"{name} must be a whole number, not {value!r}") from None
        return int(number)
