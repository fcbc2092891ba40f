"""Builders of suites, evaluations and verdicts: each test says only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from app.domain.assess import AssessmentInput, Champion, Sibling, assess
from app.domain.evaluations import (
    OVERALL,
    Bound,
    Evaluation,
    Loss,
    Position,
    Purpose,
    Stated,
    Validity,
    Value,
)
from app.domain.outcomes import Aggregate, Check, Rule, Verdict
from app.domain.policies import Policy
from app.domain.suites import Suite, suite_from_document


def a_suite(
    groups: Iterable[str | Mapping[str, Any]] = ("a", "b"),
    metrics: Mapping[str, Any] | None = None,
    *,
    key: str = "suite",
    frozen: Mapping[str, float] | None = None,
    version: int = 1,
    **fields: str,
) -> Suite:
    document = {"groups": list(groups), "metrics": metrics or {"mse": "lower"}, **fields}
    return suite_from_document(key, version, document, frozen)


def an_evaluation(
    groups: Mapping[str, float] | None = None,
    *,
    metric: str = "mse",
    values: Iterable[Value] = (),
    n: int | Mapping[str, int | None] | None = 100,
    stderr: float | Mapping[str, float] | None = None,
    bounds: Mapping[str, Bound] | None = None,
    run: str = "run-6",
    id: str = "candidate",  # noqa: A002
    attempt: int = 1,
    step: int | None = 1,
    purpose: Purpose = Purpose.CANDIDATE,
    stated: Stated | None = None,
    loss: Loss | None = None,
    seeded: bool | None = None,
    split_seeded: bool | None = None,
    run_validity: Validity = Validity.VALID,
    validity: Validity = Validity.VALID,
) -> Evaluation:
    of_groups = (
        Value(
            metric=metric,
            group=group,
            value=value,
            n=n.get(group) if isinstance(n, Mapping) else n,
            stderr=stderr.get(group) if isinstance(stderr, Mapping) else stderr,
            bound=(bounds or {}).get(group, Bound.EXACT),
        )
        for group, value in (groups or {}).items()
    )
    return Evaluation(
        id=id,
        run=run,
        position=Position(attempt=attempt, step=step, evaluation=id),
        purpose=purpose,
        values=(*of_groups, *values),
        stated=stated or Stated(),
        loss=loss or Loss(),
        seeded=seeded,
        split_seeded=split_seeded,
        run_validity=run_validity,
        validity=validity,
    )


def a_whole(value: float, *, metric: str = "mse", n: int | None = None, **more: Any) -> Value:
    return Value(metric=metric, group=OVERALL, value=value, n=n, **more)


def a_verdict(
    candidate: Evaluation,
    champion: Evaluation | None = None,
    *,
    suite: Suite | None = None,
    champion_suite: Suite | None = None,
    policy: Policy | None = None,
) -> Verdict:
    suite = suite or a_suite()
    holder = None
    if champion is not None:
        former = replace(champion, id="champion", run="run-2") if champion.id == "candidate" else champion
        holder = Champion(evaluation=former, suite=champion_suite or suite)
    return assess(
        AssessmentInput(suite=suite, candidate=candidate, champion=holder, policy=policy or Policy())
    )


def the_seeds(
    suite: Suite,
    numbers: Iterable[float | Mapping[str, float]],
    *,
    name: str,
    metric: str = "mse",
    **more: Any,
) -> tuple[Sibling, ...]:
    """One sibling for each entry: its value in every group of the suite, or its values by group."""
    return tuple(
        Sibling(
            evaluation=an_evaluation(
                entry if isinstance(entry, Mapping) else dict.fromkeys((g.name for g in suite.groups), entry),
                metric=metric,
                id=f"{name}-{i}",
                run=f"{name}-{i}",
                **more,
            ),
            suite=suite,
        )
        for i, entry in enumerate(numbers)
    )


def a_verdict_of_seeds(
    champion: Iterable[float | Mapping[str, float]],
    candidate: Iterable[float | Mapping[str, float]],
    *,
    suite: Suite | None = None,
    metric: str = "mse",
    policy: Policy | None = None,
) -> Verdict:
    """The first entry of each side is the evaluation itself, the others are its siblings."""
    suite = suite or a_suite(("g",))
    theirs = the_seeds(suite, champion, name="theirs", metric=metric)
    ours = the_seeds(suite, candidate, name="ours", metric=metric)
    return assess(
        AssessmentInput(
            suite=suite,
            candidate=ours[0].evaluation,
            champion=Champion(evaluation=theirs[0].evaluation, suite=suite, siblings=theirs[1:]),
            policy=policy or Policy(),
            siblings=ours[1:],
        )
    )


def check_of(verdict: Verdict, group: str, *, metric: str = "mse", rule: Rule = Rule.REGRESSION) -> Check:
    """The only check of that rule, metric and group."""
    found = [c for c in verdict.checks if (c.rule, c.metric, c.group) == (rule, metric, group)]
    assert len(found) == 1, [(c.rule, c.metric, c.group, c.outcome) for c in verdict.checks]
    return found[0]


def finding(verdict: Verdict, rule: Rule) -> Check | None:
    """The only check of a rule that makes at most one, None when it made none."""
    found = [check for check in verdict.checks if check.rule is rule]
    assert len(found) <= 1
    return found[0] if found else None


def column(verdict: Verdict, name: str, *, metric: str = "mse") -> Aggregate:
    found = [a for a in verdict.aggregates if (a.metric, a.name) == (metric, name)]
    assert len(found) == 1, [(a.metric, a.name) for a in verdict.aggregates]
    return found[0]
