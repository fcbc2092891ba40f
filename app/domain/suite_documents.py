"""A suite as a JSON document: read with every problem named, written canonically."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.metrics import Metric, metric_to_document, resolve_metric
from app.domain.names import field_part, name_problem, unknown_key
from app.domain.suite import Group, Suite, is_reserved
from app.errors import InvalidInput, Problem


def suite_to_document(suite: Suite) -> dict[str, Any]:
    """Canonical JSON of a suite version.

    `metric_order` says which metric leads even where a store sorts the keys of an object (jsonb does).
    """
    return {
        "dataset": suite.dataset,
        "dataset_version": suite.dataset_version,
        "split": suite.split,
        "protocol": suite.protocol,
        "groups": [
            {
                "name": group.name,
                "tier": group.tier,
                "weight": group.weight,
                "definition": group.definition,
                "label": group.label,
            }
            for group in suite.groups
        ],
        "metrics": {metric.name: metric_to_document(metric) for metric in suite.metrics},
        "metric_order": [metric.name for metric in suite.metrics],
    }


_TEXTS = ("dataset", "dataset_version", "split", "protocol")
_KEYS = (*_TEXTS, "groups", "metrics", "metric_order")
_GROUP_KEYS = ("name", "tier", "weight", "definition", "label")


def suite_from_document(
    key: str, version: int, document: Mapping[str, Any], frozen_weights: Mapping[str, float] | None = None
) -> Suite:
    """Read a suite's document: `suite_to_document`'s form, with shorter ones for groups ("easy") and metrics
    ("lower").

    Raises:
        InvalidInput: Every problem with its dotted field (`groups.2.weight`).
    """
    if not isinstance(document, Mapping):
        raise InvalidInput("a suite is an object with groups and metrics")
    problems = [
        Problem(field=field_part(name), message=unknown_key(name, _KEYS))
        for name in document
        if name not in _KEYS
    ]
    texts = {name: _text(document.get(name), name, problems) for name in _TEXTS}
    groups = _read_groups(document.get("groups"), problems)
    metrics = _read_metrics(document.get("metrics"), document.get("metric_order"), problems)
    _check_metric_groups(metrics, groups, problems)
    if problems:
        raise InvalidInput(
            f"suite {key}: {problems[0].field}: {problems[0].message}",
            field=problems[0].field,
            problems=problems,
        )
    return Suite(
        key=key,
        version=version,
        groups=groups,
        metrics=metrics,
        frozen_weights=dict(frozen_weights or {}),
        **texts,
    )


def _text(value: object, where: str, problems: list[Problem], *, limit: int = 1024) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        problems.append(Problem(field=where, message=f"must be printable text of at most {limit} characters"))
        return ""
    return value


def _read_groups(raw: object, problems: list[Problem]) -> tuple[Group, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        problems.append(
            Problem(field="groups", message='must be a list such as [{"name": "k=4,m=2", "tier": "easy"}]')
        )
        return ()
    groups = [_read_group(item, f"groups.{i}", problems) for i, item in enumerate(raw)]
    seen: set[str] = set()
    for i, group in enumerate(groups):
        if group.name and group.name in seen:
            problems.append(Problem(field=f"groups.{i}.name", message=f"{group.name} is listed twice"))
        seen.add(group.name)
    weighted = [group.weight is not None for group in groups]
    if any(weighted) and not all(weighted):
        at = weighted.index(False)
        problems.append(
            Problem(
                field=f"groups.{at}.weight",
                message="give every group a weight, or none (then n shares are used)",
            )
        )
    return tuple(groups)


def _read_group(raw: object, where: str, problems: list[Problem]) -> Group:
    if isinstance(raw, str):
        raw = {"name": raw}
    if not isinstance(raw, Mapping):
        problems.append(
            Problem(field=where, message='must be a name or an object such as {"name": "k=4,m=2"}')
        )
        return Group(name="")
    problems.extend(
        Problem(field=f"{where}.{field_part(key)}", message=unknown_key(key, _GROUP_KEYS))
        for key in raw
        if key not in _GROUP_KEYS
    )
    name, tier = raw.get("name"), raw.get("tier")
    if problem := name_problem(name):
        problems.append(Problem(field=f"{where}.name", message=f"a group's name {problem}"))
        name = ""
    elif is_reserved(str(name)):
        problems.append(
            Problem(
                field=f"{where}.name",
                message=f"{name} is reserved for aggregates (overall, macro, worst, tier:…); use another",
            )
        )
    if tier is not None and (problem := name_problem(tier)):
        problems.append(Problem(field=f"{where}.tier", message=f"a tier's name {problem}"))
        tier = None
    return Group(
        name=str(name),
        tier=tier,
        weight=_weight(raw.get("weight"), f"{where}.weight", problems),
        definition=_text(raw.get("definition"), f"{where}.definition", problems) or None,
        label=_text(raw.get("label"), f"{where}.label", problems) or None,
    )


def _weight(value: object, where: str, problems: list[Problem]) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e300:
        return float(value)
    problems.append(
        Problem(field=where, message="must be a finite number above 0; leave a group out to give it none")
    )
    return 1.0


def _read_metrics(raw: object, order: object, problems: list[Problem]) -> tuple[Metric, ...]:
    if not isinstance(raw, Mapping) or not raw:
        problems.append(Problem(field="metrics", message='must name at least one metric: {"mse": "lower"}'))
        return ()
    names = list(raw)
    if order is not None:
        if not isinstance(order, list | tuple) or sorted(map(str, order)) != sorted(map(str, names)):
            problems.append(
                Problem(
                    field="metric_order",
                    message="must list every metric once, the lead metric first, or be left out",
                )
            )
        else:
            names = list(order)
    metrics = []
    for name in names:
        try:
            metrics.append(resolve_metric(name, raw[name]))
        except InvalidInput as error:
            problems.extend(error.problems)
    return tuple(metrics)


def _check_metric_groups(
    metrics: tuple[Metric, ...], groups: tuple[Group, ...], problems: list[Problem]
) -> None:
    listed = {group.name for group in groups}
    if listed:
        problems.extend(
            Problem(field=f"metrics.{metric.name}.groups", message=f"{name} is not among the suite's groups")
            for metric in metrics
            for name in metric.groups or ()
            if name not in listed
        )
