"""The service's word on one evaluation, as it came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from truerun.wire import number_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule applied to one metric × group.

    Args:
        outcome: pass, improved, inconclusive, regressed, failed or not_evaluated.
        required: Whether it can close the gate; else it is advice.
        worsening: Relative change, positive = worse whatever the metric's direction; None where undefined.
        limit: Regression: the largest worsening, in the metric's unit, that still passes. Limits: the bound.
    """

    rule: str
    metric: str | None
    group: str | None
    outcome: str
    required: bool
    reason: str | None
    notes: tuple[str, ...]
    baseline: float | None
    candidate: float | None
    worsening: float | None
    limit: float | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One column that the service computed from the group values: `overall`, `macro`, `tier:easy`, …."""

    metric: str
    name: str
    value: float | None
    baseline: float | None
    worsening: float | None
    groups_used: int | None
    groups_total: int | None
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All outcomes of an evaluation together.

    Args:
        gate: open, undecided or closed; `unknown` when the service did not say in time, `rejected` when it
            refused the evaluation (then `problem` says why). Only `open` is a yes: ask `is_open`.
        sentence: What a tired person should read.
        evaluation: The evaluation's id; None when nothing was recorded.
        baseline: What it was measured against: evaluation, run and version; None without a champion.
        document: The service's answer as it came, with everything that has no place here.
    """

    gate: str
    sentence: str
    evaluation: str | None = None
    checks: tuple[Check, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    baseline: Mapping[str, Any] | None = None
    policy_version: int | None = None
    problem: Mapping[str, Any] | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether the gate is open; false as long as nobody knows."""
        return self.gate == "open"

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"<Verdict {self.gate}: {self.sentence}>"


def verdict_from(document: Mapping[str, Any]) -> Verdict:
    """Read the service's answer; members of a later service that are not known here stay in `document`."""
    baseline = document.get("baseline")
    policy_version = document.get("policy_version")
    return Verdict(
        gate=str(document.get("gate")),
        sentence=str(document.get("sentence") or ""),
        evaluation=_text(document.get("evaluation")),
        checks=tuple(_check(item) for item in _mappings(document.get("checks"))),
        aggregates=tuple(_aggregate(item) for item in _mappings(document.get("aggregates"))),
        baseline=baseline if isinstance(baseline, dict) else None,
        policy_version=policy_version if isinstance(policy_version, int) else None,
        document=document,
    )


def unknown(
    sentence: str, *, evaluation: str | None = None, problem: Mapping[str, Any] | None = None
) -> Verdict:
    """What is returned when nobody can say yet."""
    return Verdict(gate="unknown", sentence=sentence, evaluation=evaluation, problem=problem)


def rejected(
    sentence: str, *, evaluation: str | None = None, problem: Mapping[str, Any] | None = None
) -> Verdict:
    """What is returned when the evaluation was refused for good."""
    return Verdict(
        gate="rejected", sentence=sentence, evaluation=evaluation, problem=problem or {"detail": sentence}
    )


def _check(item: Mapping[str, Any]) -> Check:
    notes, detail = item.get("notes"), item.get("detail")
    return Check(
        rule=str(item.get("rule")),
        metric=_text(item.get("metric")),
        group=_text(item.get("group")),
        outcome=str(item.get("outcome")),
        required=bool(item.get("required")),
        reason=_text(item.get("reason")),
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        baseline=number_of(item.get("baseline")),
        candidate=number_of(item.get("candidate")),
        worsening=number_of(item.get("worsening")),
        limit=number_of(item.get("limit")),
        detail=detail if isinstance(detail, dict) else {},
    )


def _aggregate(item: Mapping[str, Any]) -> Aggregate:
    used, total = item.get("groups_used"), item.get("groups_total")
    return Aggregate(
        metric=str(item.get("metric")),
        name=str(item.get("name")),
        value=number_of(item.get("value")),
        baseline=number_of(item.get("baseline")),
        worsening=number_of(item.get("worsening")),
        groups_used=used if isinstance(used, int) else None,
        groups_total=total if isinstance(total, int) else None,
        group=_text(item.get("group")),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _mappings(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
