"""What a suite says of a metric (RULES.md, *Metrics*)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from app.domain.names import field_part, name_problem, unknown_key
from app.errors import InvalidInput


class Direction(StrEnum):
    LOWER = "lower"
    HIGHER = "higher"
    TARGET = "target"


class Role(StrEnum):
    """How a metric is judged: on every group (primary), overall only (secondary), by limits only (limit)."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    LIMIT = "limit"


class Pooling(StrEnum):
    """How groups make an overall: weighted mean, root of the weighted mean of squares, or not at all."""

    MEAN = "mean"
    RMS = "rms"
    NONE = "none"


class Scale(StrEnum):
    PHYSICAL = "physical"
    NORMALIZED = "normalized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's definition in a suite.

    Args:
        direction: None only for role limit, which is never ranked or compared.
        target: The value aimed at; given exactly when direction is target.
        ideal: The perfect value (0 for errors, 1 for accuracy), None when there is none (NLL, reward).
        groups: The groups it applies to; None means all.
    """

    name: str
    direction: Direction | None
    role: Role = Role.PRIMARY
    pooling: Pooling = Pooling.NONE
    target: float | None = None
    ideal: float | None = None
    unit: str | None = None
    scale: Scale | None = None
    groups: tuple[str, ...] | None = None


def _well_known(direction: Direction, ideal: float, pooling: Pooling, names: str) -> dict[str, Metric]:
    return {
        name: Metric(name=name, direction=direction, ideal=ideal, pooling=pooling) for name in names.split()
    }


# There is no default direction, but these names bring everything.
WELL_KNOWN: Mapping[str, Metric] = {
    **_well_known(Direction.LOWER, 0.0, Pooling.MEAN, "mse mae log2_mse loss"),
    **_well_known(Direction.LOWER, 0.0, Pooling.RMS, "rmse"),
    **_well_known(Direction.LOWER, 0.0, Pooling.NONE, "nrmse vrmse rel_l2"),
    **_well_known(Direction.HIGHER, 1.0, Pooling.MEAN, "accuracy"),
    **_well_known(Direction.HIGHER, 1.0, Pooling.NONE, "f1 auc r2"),
}

_KEYS = ("direction", "role", "pooling", "unit", "ideal", "target", "scale", "groups")
_Word = TypeVar("_Word", bound=StrEnum)


def resolve_metric(name: str, spec: str | Mapping[str, Any] | None) -> Metric:
    """What `metrics={name: spec}` says, laid over what a well-known name brings.

    Args:
        spec: `lower`, `higher`, `limit`, or a mapping of any of direction, role, pooling, unit, ideal,
            target, scale, groups (`ideal: None` takes a well-known ideal away). None for a well-known name as
            it is.

    Raises:
        InvalidInput: Nothing says which direction is better, or the spec contradicts itself; the field is
            `metrics.<name>` or `metrics.<name>.<key>`.
    """
    where = f"metrics.{field_part(name)}"
    if problem := name_problem(name):
        raise InvalidInput(f"a metric's name {problem}", field=where)
    known = WELL_KNOWN.get(name)
    if spec is None:
        if known is None:
            raise _no_direction(name, where)
        return known
    if isinstance(spec, str):
        spec = {"role": "limit"} if spec == "limit" else {"direction": spec}
    if not isinstance(spec, Mapping):
        raise InvalidInput('must be "lower", "higher", "limit" or an object', field=where)
    for key in spec:
        if key not in _KEYS:
            raise InvalidInput(unknown_key(key, _KEYS), field=f"{where}.{field_part(key)}")
    return _checked(_merged(name, spec, known, where), where)


def _merged(name: str, spec: Mapping[str, Any], known: Metric | None, where: str) -> Metric:
    base = known or Metric(name=name, direction=None)
    direction = _word(Direction, spec.get("direction"), f"{where}.direction")
    if direction is None:
        direction = Direction.TARGET if spec.get("target") is not None else base.direction
    if direction is not base.direction:
        # A well-known ideal belongs to the well-known direction.
        base = replace(base, direction=direction, ideal=None)
    return replace(
        base,
        role=_word(Role, spec.get("role"), f"{where}.role") or base.role,
        pooling=_word(Pooling, spec.get("pooling"), f"{where}.pooling") or base.pooling,
        scale=_word(Scale, spec.get("scale"), f"{where}.scale") or base.scale,
        unit=_unit(spec["unit"], where) if "unit" in spec else base.unit,
        ideal=_number(spec["ideal"], f"{where}.ideal") if "ideal" in spec else base.ideal,
        target=_number(spec["target"], f"{where}.target") if "target" in spec else base.target,
        groups=_groups(spec["groups"], f"{where}.groups") if "groups" in spec else base.groups,
    )


def _checked(metric: Metric, where: str) -> Metric:
    if metric.direction is None and metric.role is not Role.LIMIT:
        raise _no_direction(metric.name, where)
    if metric.direction is None and metric.ideal is not None:
        raise InvalidInput("an ideal needs a direction: add lower or higher", field=f"{where}.ideal")
    if (metric.direction is Direction.TARGET) != (metric.target is not None):
        raise InvalidInput(
            'a target is given exactly with direction "target": {"direction": "target", "target": 0.5}',
            field=f"{where}.target",
        )
    if metric.direction is Direction.TARGET and metric.ideal is not None:
        raise InvalidInput("the target is the ideal; leave ideal out", field=f"{where}.ideal")
    return metric


def _no_direction(name: str, where: str) -> InvalidInput:
    shown = name.replace("\\", "\\\\").replace('"', '\\"')
    return InvalidInput(
        f'nothing says whether a lower or a higher {name} is better; give metrics={{"{shown}": "lower"}} '
        '(or "higher", or "limit" when only limits judge it)',
        field=where,
    )


def _word(words: type[_Word], value: object, where: str) -> _Word | None:
    if value is None:
        return None
    if value not in list(words):
        raise InvalidInput(f"must be one of {', '.join(words)}", field=where)
    return words(str(value))


def _number(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput("must be a number", field=where)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidInput("must be a finite number", field=where)
    return number


def _unit(value: object, where: str) -> str | None:
    if value is not None and (not isinstance(value, str) or name_problem(value)):
        raise InvalidInput("must be text of 1 to 256 printable characters", field=f"{where}.unit")
    return value


def _groups(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value or any(map(name_problem, value)):
        raise InvalidInput("must be a list of group names, or left out for all groups", field=where)
    return tuple(dict.fromkeys(value))


def metric_to_document(metric: Metric) -> dict[str, Any]:
    """Canonical JSON of a metric without its name; `resolve_metric` reads it back unchanged."""
    return {
        "direction": metric.direction and metric.direction.value,
        "role": metric.role.value,
        "pooling": metric.pooling.value,
        "unit": metric.unit,
        "ideal": metric.ideal,
        "target": metric.target,
        "scale": metric.scale and metric.scale.value,
        "groups": None if metric.groups is None else list(metric.groups),
    }


def gap(metric: Metric, value: float) -> float:
    """Distance to perfection, larger = worse; without an ideal, the value in the worse direction.

    x − ideal (lower) · ideal − x (higher) · |x − target| · no ideal: x (lower), −x (higher)
    """
    if metric.direction is Direction.TARGET:
        return abs(value - (metric.target or 0.0))
    ideal = metric.ideal or 0.0
    return ideal - value if metric.direction is Direction.HIGHER else value - ideal


def reference(metric: Metric) -> float:
    """The number that gaps are measured from: the target, the ideal, or 0 where there is none."""
    return (metric.target if metric.direction is Direction.TARGET else metric.ideal) or 0.0
