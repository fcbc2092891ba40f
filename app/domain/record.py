"""Verdicts as strict JSON and back: non-finite numbers travel as "NaN", "Infinity", "-Infinity"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from app.domain.alerts import AlertLine
from app.domain.outcomes import Aggregate, Check, Outcome, Rule

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def number_to_json(x: float | None) -> float | str | None:
    if x is None or math.isfinite(x):
        return x
    if math.isnan(x):
        return "NaN"
    return "Infinity" if x > 0 else "-Infinity"


def number_from_json(x: float | int | str | None) -> float | None:
    """The number that `number_to_json` wrote.

    Raises:
        ValueError: Another word than the three.
    """
    if x is None:
        return None
    if isinstance(x, str):
        if x not in _WORDS:
            raise ValueError(f"{x!r} is no number; use a number, {', '.join(map(repr, _WORDS))} or null")
        return _WORDS[x]
    return float(x)


def check_to_document(check: Check) -> dict[str, Any]:
    return {
        "rule": check.rule.value,
        "metric": check.metric,
        "group": check.group,
        "outcome": check.outcome.value,
        "required": check.required,
        "reason": check.reason,
        "notes": list(check.notes),
        "baseline": number_to_json(check.baseline),
        "candidate": number_to_json(check.candidate),
        "worsening": number_to_json(check.worsening),
        "limit": number_to_json(check.limit),
        "detail": _strict(check.detail) if check.detail else {},
    }


def check_from_document(document: Mapping[str, Any]) -> Check:
    return Check(
        rule=Rule(document["rule"]),
        metric=document["metric"],
        group=document["group"],
        outcome=Outcome(document["outcome"]),
        required=document["required"],
        reason=document["reason"],
        notes=tuple(document["notes"]),
        baseline=number_from_json(document["baseline"]),
        candidate=number_from_json(document["candidate"]),
        worsening=number_from_json(document["worsening"]),
        limit=number_from_json(document["limit"]),
        detail=document["detail"],
    )


def aggregate_to_document(aggregate: Aggregate) -> dict[str, Any]:
    return {
        "metric": aggregate.metric,
        "name": aggregate.name,
        "value": number_to_json(aggregate.value),
        "baseline": number_to_json(aggregate.baseline),
        "worsening": number_to_json(aggregate.worsening),
        "groups_used": aggregate.groups_used,
        "groups_total": aggregate.groups_total,
        "left_out": dict(aggregate.left_out),
        "group": aggregate.group,
    }


def aggregate_from_document(document: Mapping[str, Any]) -> Aggregate:
    return Aggregate(
        metric=document["metric"],
        name=document["name"],
        value=number_from_json(document["value"]),
        baseline=number_from_json(document["baseline"]),
        worsening=number_from_json(document["worsening"]),
        groups_used=document["groups_used"],
        groups_total=document["groups_total"],
        left_out=document["left_out"],
        group=document["group"],
    )


def line_to_document(line: AlertLine) -> dict[str, Any]:
    return {
        "metric": line.metric,
        "group": line.group,
        "outcome": line.outcome.value,
        "reason": line.reason,
        "baseline": number_to_json(line.baseline),
        "candidate": number_to_json(line.candidate),
        "worsening": number_to_json(line.worsening),
        "text": line.text,
    }


def line_from_document(document: Mapping[str, Any]) -> AlertLine:
    return AlertLine(
        metric=document["metric"],
        group=document["group"],
        outcome=Outcome(document["outcome"]),
        reason=document["reason"],
        baseline=number_from_json(document["baseline"]),
        candidate=number_from_json(document["candidate"]),
        worsening=number_from_json(document["worsening"]),
        text=document["text"],
    )


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return number_to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
