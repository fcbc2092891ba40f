"""The run `eval-<id>`: one evaluation and its verdict, in the group of the training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.alerts import AlertDraft, Level
from app.domain.evaluations import OVERALL, Evaluation
from app.domain.gate import blocks, leaves_open_question
from app.domain.outcomes import Check, Outcome, Rule, Verdict
from app.domain.sentences import explain, percent
from app.domain.suites import Suite, is_reserved
from app.domain.ttc import Selection
from app.worker.wandb_jobs.board_content import BoardRow, board_table
from app.worker.wandb_jobs.image_content import Gallery, pictures
from app.worker.wandb_jobs.job import Alert, AlertLevel, Bars, Job, Table, alert, bars, table
from app.worker.wandb_jobs.ttc_content import ttc_charts
from app.worker.wandb_jobs.values import Cell, Kind, key_part, printable, run_id, strict

_LONGEST_TAG = 64
_LEVELS: Mapping[Level, AlertLevel] = {Level.INFO: "INFO", Level.WARN: "WARN", Level.ERROR: "ERROR"}
_COMPARISON: Mapping[str, Kind] = {
    "Status": Kind.TEXT,
    "Metric": Kind.TEXT,
    "Group": Kind.TEXT,
    "Baseline": Kind.NUMBER,
    "Current": Kind.NUMBER,
    "Change": Kind.TEXT,
    "Worsening": Kind.NUMBER,
}
_HEATMAP: Mapping[str, Kind] = {
    "Metric": Kind.TEXT,
    "Group": Kind.TEXT,
    "Tier": Kind.TEXT,
    "Worsening": Kind.NUMBER,
    "Status": Kind.TEXT,
}
_GATES: Mapping[str, Kind] = {
    "Status": Kind.TEXT,
    "Metric": Kind.TEXT,
    "Group": Kind.TEXT,
    "Limit": Kind.NUMBER,
    "Value": Kind.NUMBER,
    "Required": Kind.FLAG,
    "Finding": Kind.TEXT,
}
_FINDINGS: Mapping[str, Kind] = {
    "Status": Kind.TEXT,
    "Rule": Kind.TEXT,
    "Metric": Kind.TEXT,
    "Group": Kind.TEXT,
    "Required": Kind.FLAG,
    "Finding": Kind.TEXT,
}
_SUMMARY: Mapping[str, Kind] = {"Category": Kind.TEXT, "Metric": Kind.TEXT, "Value": Kind.NUMBER}
# So that the rows that are cut are those that nobody has to look at.
_ORDER = (
    Outcome.REGRESSED,
    Outcome.FAILED,
    Outcome.INCONCLUSIVE,
    Outcome.NOT_EVALUATED,
    Outcome.IMPROVED,
    Outcome.PASS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One evaluation with all that was found.

    Args:
        wandb_group: That of the training's own W&B run.
        baseline: The champion it was held against, by the name of its run; "" without one.
        entries: Its rows on the boards.
        gallery: The training's images up to its step.
        alerts: What people are to be told; W&B tells each once.
        page: Address of the evaluation's page.
    """

    project: str
    evaluation: Evaluation
    suite: Suite
    stage: str
    wandb_group: str
    verdict: Verdict
    policy_version: int | None
    baseline: str = ""
    entries: tuple[BoardRow, ...] = ()
    ttc: tuple[Selection, ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    alerts: tuple[AlertDraft, ...] = ()
    tags: tuple[str, ...] = ()
    page: str


def evaluation_job(judged: Judged, *, rev: int) -> Job:
    """Everything that one verdict says; `rev` grows with every newer verdict of the same evaluation."""
    evaluation, suite, verdict = judged.evaluation, judged.suite, judged.verdict
    charts = ttc_charts(judged.ttc)
    limits = [check for check in verdict.checks if check.rule is Rule.LIMIT]
    tables = (
        comparison_table(verdict),
        heatmap_table(verdict, suite),
        gates_table(limits),
        findings_table(verdict),
        summary_table(judged),
        *([board_table("leaderboard/entry", judged.entries)] if judged.entries else []),
    )
    return Job(
        run_id=run_id("eval", evaluation.id),
        rev=rev,
        name=f"eval-{evaluation.run}-{suite.key}",
        job_type="evaluation",
        group=judged.wandb_group,
        tags=_tags(judged),
        config=_config(judged),
        scalars={
            **_counts(verdict),
            **_values(judged),
            **_totals(tables),
            **charts.scalars,
            **judged.gallery.scalars,
        },
        tables=tables,
        bars=(*([_violations(limits)] if limits else []), *charts.bars),
        lines=charts.lines,
        histograms=charts.histograms,
        pictures=pictures(judged.gallery.shown),
        alerts=tuple(alert_of(draft, judged.page) for draft in judged.alerts),
    )


def comparison_table(verdict: Verdict) -> Table:
    rows = [
        (
            check.outcome.value,
            check.metric,
            check.group,
            check.baseline,
            check.candidate,
            _change(check),
            check.worsening,
        )
        for check in _worst_first(_of(verdict, Rule.REGRESSION))
    ]
    return table("regression/comparison", _COMPARISON, rows)


def heatmap_table(verdict: Verdict, suite: Suite) -> Table:
    """One row for each metric and group, groups only; W&B's heatmap wants them long, not wide."""
    tiers = {group.name: group.tier for group in suite.groups}
    rows = [
        (check.metric, check.group, tiers.get(check.group or ""), check.worsening, check.outcome.value)
        for check in _of(verdict, Rule.REGRESSION)
        if check.group is not None and not is_reserved(check.group)
    ]
    return table("groups/heatmap", _HEATMAP, rows)


def gates_table(limits: Iterable[Check]) -> Table:
    rows = [
        (
            check.outcome.value,
            check.metric,
            check.group,
            check.limit,
            check.candidate,
            check.required,
            explain(check),
        )
        for check in _worst_first(limits)
    ]
    return table("physics/gates", _GATES, rows)


def findings_table(verdict: Verdict) -> Table:
    rows = [
        (
            check.outcome.value,
            check.rule.value,
            check.metric,
            check.group,
            check.required,
            explain(check),
        )
        for check in _worst_first(verdict.checks)
        if check.rule.alert_kind == "integrity"
    ]
    return table("integrity/findings", _FINDINGS, rows)


def summary_table(judged: Judged) -> Table:
    """Every number in one place: what was posted, what the server pooled, what was counted."""
    counts = [
        ("verdict", key.partition("/")[2], value) for key, value in _numbers(_counts(judged.verdict)).items()
    ]
    pooled = [
        ("aggregate", f"{each.metric} {each.name}", each.value)
        for each in judged.verdict.aggregates
        if each.value is not None
    ]
    losses = [
        ("loss", name, value)
        for name, value in (("train", judged.evaluation.loss.train), ("val", judged.evaluation.loss.val))
        if value is not None
    ]
    posted = [(each.group, each.metric, each.value) for each in judged.evaluation.values]
    return table("eval_summary/full", _SUMMARY, [*counts, *pooled, *losses, *posted])


def _violations(limits: Sequence[Check]) -> Bars:
    """How many cells of each metric break their limit; a metric that keeps it has a bar of no height."""
    broken = Counter(check.metric or "" for check in limits if check.outcome is Outcome.FAILED)
    names = dict.fromkeys(check.metric or "" for check in limits)
    pairs = [(name, broken[name]) for name in names]
    return bars("physics/violations", "Limits not met", "metric", "violations", pairs)


def _counts(verdict: Verdict) -> dict[str, Cell]:
    of_regression = _of(verdict, Rule.REGRESSION)
    counts = Counter(check.outcome for check in _cells(of_regression))
    known = [check.worsening for check in of_regression if check.worsening is not None]
    scalars: dict[str, Cell] = {
        "regression/status": _status(verdict),
        "regression/gate": verdict.gate.value,
        "regression/sentence": strict(verdict.sentence),
        "regression/num_regressions": counts[Outcome.REGRESSED],
        "regression/num_improvements": counts[Outcome.IMPROVED],
        "regression/num_inconclusive": counts[Outcome.INCONCLUSIVE],
        "regression/num_failed": counts[Outcome.FAILED],
        "regression/num_not_evaluated": counts[Outcome.NOT_EVALUATED],
        "regression/judged_cells": verdict.judged_cells,
        "regression/total_cells": verdict.total_cells,
        "physics/num_violations": sum(check.outcome is Outcome.FAILED for check in _of(verdict, Rule.LIMIT)),
        "integrity/num_findings": sum(
            check.rule.alert_kind == "integrity" and check.outcome is Outcome.FAILED
            for check in verdict.checks
        ),
    }
    return scalars | ({"regression/worst_worsening": strict(max(known))} if known else {})


def _status(verdict: Verdict) -> str:
    """What the regression checks alone say; limits and integrity have their own part in the gate."""
    checks = [check for check in verdict.checks if check.rule.alert_kind == "regression"]
    if any(blocks(check) for check in checks):
        return "regressed"
    if not verdict.judged_cells:
        return "not_evaluated"
    return "inconclusive" if any(leaves_open_question(check) for check in checks) else "passed"


def _values(judged: Judged) -> dict[str, Cell]:
    """The overall of every metric, under a key that can be sorted by."""
    wholes = {each.metric: each.value for each in judged.evaluation.values if each.group == OVERALL}
    pooled = {each.metric: each.value for each in judged.verdict.aggregates if each.name == OVERALL}
    found = {**wholes, **{metric: value for metric, value in pooled.items() if value is not None}}
    return {f"leaderboard/metric_{key_part(metric)}": strict(value) for metric, value in found.items()}


def _totals(tables: Iterable[Table]) -> dict[str, Cell]:
    """How many rows there were, for every table that was cut."""
    return {f"{each.name}_total_rows": each.total for each in tables if each.total > len(each.rows)}


def _numbers(scalars: Mapping[str, Cell]) -> dict[str, Cell]:
    return {key: value for key, value in scalars.items() if isinstance(value, int | float)}


def _config(judged: Judged) -> dict[str, Cell]:
    evaluation, suite = judged.evaluation, judged.suite
    return {
        "source": judged.page,
        "project": judged.project,
        "run": evaluation.run,
        "evaluation": evaluation.id,
        "suite": suite.key,
        "suite_version": suite.version,
        "stage": judged.stage,
        "step": evaluation.position.step,
        "attempt": evaluation.position.attempt,
        "purpose": evaluation.purpose.value,
        "baseline": judged.baseline,
        "policy_version": judged.policy_version,
    }


def _tags(judged: Judged) -> tuple[str, ...]:
    own = (
        "evaluation",
        f"suite:{judged.suite.key}",
        f"stage:{judged.stage}",
        f"gate:{judged.verdict.gate.value}",
    )
    return tuple(dict.fromkeys(printable(tag, _LONGEST_TAG) for tag in (*own, *judged.tags) if tag))


def alert_of(draft: AlertDraft, page: str) -> Alert:
    # The address comes first, since a long list is cut at its end.
    return alert(draft.title, "\n".join([page, *(line.text for line in draft.lines)]), _LEVELS[draft.level])


def _change(check: Check) -> str:
    if check.worsening is not None:
        return percent(check.worsening)
    return (check.reason or "").replace("_", " ")


def _of(verdict: Verdict, rule: Rule) -> list[Check]:
    return [check for check in verdict.checks if check.rule is rule]


def _cells(checks: list[Check]) -> list[Check]:
    """Those of single groups, as the verdict's sentence counts them; all where there are no groups."""
    return [check for check in checks if check.group is not None and not is_reserved(check.group)] or checks


def _worst_first(checks: Iterable[Check]) -> list[Check]:
    """What closes the gate first, then the largest worsening; what could not be compared before what could."""
    return sorted(
        checks,
        key=lambda check: (
            _ORDER.index(check.outcome),
            not check.required,
            check.worsening is not None,
            -(check.worsening or 0.0),
            check.metric or "",
            check.group or "",
        ),
    )
