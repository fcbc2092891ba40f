"""The whole verdict: a pure function of suite, candidate, champion and policy.

The same input gives the same verdict, for ever.

Order of checks: masked, then each metric's overall, tiers and groups, then the
trend, then limits, then integrity.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.aggregates import Pools
from app.domain.evaluations import Evaluation
from app.domain.gate import JUDGED, effective_gate, gate_of, is_judged
from app.domain.integrity import integrity_checks
from app.domain.judge import Judge
from app.domain.kin import Champion, Sibling
from app.domain.limits import limit_checks
from app.domain.outcomes import Aggregate, Check, Verdict
from app.domain.policy import Policy
from app.domain.suites import Suite, lead_metric
from app.domain.summary import Summary, sentence_for_invalid, sentence_of
from app.domain.wholes import board_values, overall_value

__all__ = [
    "AssessmentInput",
    "Champion",
    "Sibling",
    "assess",
    "board_values",
    "effective_gate",
    "overall_value",
    "sentence_for_invalid",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentInput:
    """Everything a verdict depends on.

    Args:
        suite: The candidate's suite version, whose weights (frozen ones included) pool both sides.
        champion: None when this suite and stage have none.
        siblings: The other valid runs of the candidate's recipe, without itself, sorted by evaluation id.
        history: The champions before this one, oldest first: valid, not rolled back, since the last override.
    """

    suite: Suite
    candidate: Evaluation
    champion: Champion | None
    policy: Policy
    siblings: tuple[Sibling, ...] = ()
    history: tuple[Champion, ...] = ()


def assess(inputs: AssessmentInput) -> Verdict:
    """Judge the candidate against the champion, the policy's limits, and its own statements."""
    judge = Judge(
        inputs.suite, inputs.candidate, inputs.champion, inputs.policy, inputs.siblings, inputs.history
    )
    masked: list[Check] = []
    regressions: list[Check] = []
    trends: list[Check] = []
    cells: list[Check] = []
    aggregates: list[Aggregate] = []
    for metric in inputs.suite.metrics:
        checks = judge.metric_checks(metric)
        columns = judge.columns(metric, checks)
        masked += judge.masked(metric, checks, columns)
        regressions += [*checks.wholes, *checks.groups, *judge.strays(metric, checks)]
        trends += judge.trend_checks(metric)
        cells += checks.groups or checks.wholes
        aggregates += columns
    lead = lead_metric(inputs.suite)
    lead_judged = lead is not None and any(
        is_judged(check) and check.metric == lead.name for check in regressions
    )
    own = Pools(inputs.suite, judge.ours, None, None)
    limits = limit_checks(own, inputs.policy)
    integrity = integrity_checks(own, inputs.candidate, inputs.policy)
    every = (*masked, *regressions, *trends, *limits, *integrity)
    valid = inputs.candidate.is_valid
    summary = Summary(
        gate=gate_of(every, lead_judged=lead_judged, valid=valid),
        checks=every,
        champion=None if inputs.champion is None else inputs.champion.evaluation.run,
        judged=len([check for check in cells if check.outcome in JUDGED]),
        total=len(cells),
        lead_judged=lead_judged,
    )
    return Verdict(
        gate=summary.gate,
        sentence=sentence_of(summary) if valid else sentence_for_invalid(inputs.candidate),
        checks=every,
        aggregates=tuple(aggregates),
        judged_cells=summary.judged,
        total_cells=summary.total,
    )
