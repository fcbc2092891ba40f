"""The one sentence of a verdict: masked leads it, and it says how many cells were judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.evaluations import OVERALL, Evaluation, Validity
from app.domain.gate import CLOSING, is_judged
from app.domain.outcomes import Check, Gate, Outcome, Rule
from app.domain.sentences import (
    best_champion,
    cell_name,
    explain,
    listed,
    percent,
    seeds_to_run,
    shortened,
    signed_percent,
    where,
)
from app.domain.suites import is_reserved

MAX_SENTENCE = 240
_HEADS = {Gate.OPEN: "Open", Gate.UNDECIDED: "Undecided", Gate.CLOSED: "Closed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a sentence is made of.

    Args:
        champion: The champion's run key, None without a champion.
        judged, total: Cells judged against the champion, of how many.
        lead_judged: Whether the lead metric was among them.
    """

    gate: Gate
    checks: Sequence[Check]
    champion: str | None
    judged: int
    total: int
    lead_judged: bool


def sentence_of(summary: Summary) -> str:
    """The facts in order of weight, as many as fit into 240 characters, and always how much was judged."""
    regressed = _regressed(summary)
    closing = [check for check in summary.checks if check.outcome in CLOSING]
    facts = [
        *regressed,
        *_crept(closing),
        *_failed(closing),
        *_limits(closing),
        *_integrity(closing),
    ]
    if summary.gate is Gate.OPEN:
        facts += _gains(summary.checks)
    else:
        facts += _undecided(summary)
    facts += _findings(closing)
    return _joined(_HEADS[summary.gate], facts, _judged(summary, named=bool(regressed)))


def sentence_for_invalid(evaluation: Evaluation, reason: str | None = None) -> str:
    """What a verdict says once its run or evaluation is invalid, whatever its checks found."""
    what = "run" if evaluation.run_validity is Validity.INVALID else "evaluation of"
    why = f" ({shortened(reason, 120)})" if reason else ""
    return f"Closed: {what} {shortened(evaluation.run)} is invalid{why}; its numbers count for nothing."


def _joined(head: str, facts: Sequence[str], judged: str) -> str:
    kept: list[str] = []
    for fact in facts:
        left = len(facts) - len(kept) - 1
        more = f"; {left} more" if left else ""
        if kept and len(f"{head}: {'; '.join([*kept, fact])}{more}; {judged}.") > MAX_SENTENCE:
            break
        kept.append(fact)
    if len(kept) < len(facts):
        kept.append(f"{len(facts) - len(kept)} more")
    return f"{head}: {'; '.join(part for part in (*kept, judged) if part)}."


def _judged(summary: Summary, *, named: bool) -> str:
    if summary.champion is None:
        return ""
    against = "" if named else f" against {shortened(summary.champion)}"
    return f"{summary.judged} of {summary.total} cells judged{against}"


def _regressed(summary: Summary) -> list[str]:
    """`3 of 9 groups regressed against run-2 although the mean improved`, `worst k=5,m=2 +370 %`."""
    found = [check for check in summary.checks if check.outcome is Outcome.REGRESSED]
    regressed = [check for check in found if check.rule is Rule.REGRESSION]
    if not regressed:
        return []
    cells = [check for check in summary.checks if check.rule is Rule.REGRESSION]
    of_groups = {name for name in {check.group or OVERALL for check in cells} if not is_reserved(name)}
    in_groups = [check for check in regressed if check.group in of_groups]
    against = f"regressed against {shortened(summary.champion or '')}"
    if not in_groups:
        required = [check for check in regressed if check.required]
        if not required:
            return []
        worst = _worst_first(required)
        return [f"{_names(worst)} {against}, {percent(worst[0].worsening)}"]
    count = len({check.group for check in in_groups})
    advisory = "" if any(check.required for check in in_groups) else " (advisory)"
    groups = "group" if len(of_groups) == 1 else "groups"
    return [
        f"{count} of {len(of_groups)} {groups} {against}{advisory}{_although(summary.checks)}",
        _worst(in_groups, several=len({check.metric for check in cells if check.group in of_groups}) > 1),
    ]


def _crept(closing: Iterable[Check]) -> list[str]:
    """`mse in b crept +46.0 % away from the best champion so far, run-1`."""
    crept = [check for check in closing if check.reason == "creep" and check.required]
    if not crept:
        return []
    cells = _worst_first(_groups_before_aggregates(crept))
    share = "away" if cells[0].worsening is None else f"{signed_percent(cells[0].worsening)} away"
    return [
        f"{_names(cells)} crept {share} from the best champion so far, {shortened(best_champion(cells[0]))}"
    ]


def _although(checks: Iterable[Check]) -> str:
    masked = [check for check in checks if check.rule is Rule.MASKED]
    if not masked:
        return ""
    improved = any(check.detail.get("improved") for check in masked)
    return f" although the mean {'improved' if improved else 'did not regress'}"


def _worst(regressed: Iterable[Check], *, several: bool) -> str:
    worst = min(regressed, key=_badness)
    name = where(worst) if several else cell_name(worst.group or "")
    return (
        f"worst {name}, zero before"
        if worst.worsening is None
        else f"worst {name} {signed_percent(worst.worsening)}"
    )


def _worst_first(checks: Iterable[Check]) -> list[Check]:
    return sorted(checks, key=_badness)


def _badness(check: Check) -> tuple[bool, float, str, str]:
    """Undefined worsening is worse than any ratio; names settle ties."""
    worsening = check.worsening
    return worsening is not None, -(worsening or 0.0), check.metric or "", check.group or ""


def _failed(closing: Iterable[Check]) -> list[str]:
    """What is wrong with the candidate's own numbers, one fact a reason."""
    failed = [check for check in closing if check.rule is Rule.REGRESSION and check.outcome is Outcome.FAILED]
    words = {
        "non_finite": "not a finite number",
        "impossible_value": "beyond the best possible value",
        "missing_metric": "missing",
        "missing_group": "missing",
    }
    facts = []
    for reason, text in words.items():
        cells = _groups_before_aggregates([check for check in failed if check.reason == reason])
        if cells:
            facts.append(f"{text}: {_names(cells)}")
    return facts


def _names(checks: Sequence[Check]) -> str:
    return listed([where(check) for check in checks])


def _groups_before_aggregates(checks: Sequence[Check]) -> list[Check]:
    """The groups' checks, or the aggregates' without any: an aggregate repeats its groups' trouble."""
    in_groups = [check for check in checks if not is_reserved(check.group or OVERALL)]
    return in_groups or list(checks)


def _limits(closing: Iterable[Check]) -> list[str]:
    broken = [check for check in closing if check.rule is Rule.LIMIT and check.outcome is Outcome.FAILED]
    broken.sort(key=lambda check: not check.required)
    if len(broken) <= 1:
        return [explain(check).replace(": ", " ", 1) for check in broken]
    return [f"{len(broken)} limits not met ({listed([where(check) for check in broken], 3)})"]


def _integrity(closing: Iterable[Check]) -> list[str]:
    return [explain(check) for check in closing if check.rule.alert_kind == "integrity" and check.required]


def _findings(closing: Iterable[Check]) -> list[str]:
    return [
        explain(check) for check in closing if check.rule.alert_kind == "integrity" and not check.required
    ]


def _seeds_needed(check: Check) -> tuple[int, int]:
    """More is later; both recipes after the candidate's alone, no number at all last."""
    for rank, key in enumerate(("seeds_to_add", "seeds_to_add_each")):
        add = check.detail.get(key)
        if isinstance(add, int):
            return rank, add
    return 2, 0


def _gains(checks: Sequence[Check]) -> list[str]:
    cells = [check for check in checks if is_judged(check)]
    improved = [check for check in cells if check.outcome is Outcome.IMPROVED]
    overall = [check for check in cells if check.group == OVERALL and check.worsening is not None]
    unsure = _groups_before_aggregates([check for check in cells if "looks_better" in check.notes])
    facts = []
    if improved:
        in_groups = [check for check in improved if not is_reserved(check.group or OVERALL)]
        facts.append(f"{len(in_groups) or len(improved)} improved")
    if unsure:
        facts.append(f"{len(unsure)} better but could be noise")
    if overall:
        facts.append(f"{where(overall[0])} {percent(overall[0].worsening)}")
    return facts


_UNDECIDED = {
    "small_sample": "worse, but within its standard errors",
    "baseline_invalid": "the champion's value is not usable",
    "zero_baseline": "the champion is at zero and no absolute tolerance is given",
    "too_few": "too few samples",
    "censored": "known only as a bound",
    "no_baseline_value": "new, the champion has no value",
    "missing_metric": "not reported",
    "missing_group": "not reported for every group",
}


def _undecided(summary: Summary) -> list[str]:
    """Why something required could not be decided; with nothing judged, why not that."""
    facts = []
    if summary.champion is None:
        facts.append(
            "no champion yet for this suite and stage, so nothing was compared; bootstrap one to begin"
        )
    elif not summary.lead_judged and summary.gate is Gate.UNDECIDED:
        facts.append("nothing of the lead metric was judged")
    waiting = [
        check
        for check in summary.checks
        if check.outcome in (Outcome.NOT_EVALUATED, Outcome.INCONCLUSIVE)
        and (
            check.required or (not summary.lead_judged and summary.champion and check.rule is Rule.REGRESSION)
        )
    ]
    judged_twice = {(check.metric, check.group) for check in waiting if check.rule is Rule.REGRESSION}
    waiting = [c for c in waiting if c.rule is not Rule.TREND or (c.metric, c.group) not in judged_twice]
    noisy = _groups_before_aggregates([check for check in waiting if check.reason == "seed_noise"])
    if noisy:
        advice = seeds_to_run(max(noisy, key=_seeds_needed))
        facts.append(f"worse, but could be noise: {_names(noisy)}{f' ({advice})' if advice else ''}")
    for reason, text in _UNDECIDED.items():
        cells = _groups_before_aggregates([check for check in waiting if check.reason == reason])
        if cells:
            facts.append(f"{text}: {_names(cells)}")
    changed = _groups_before_aggregates([check for check in waiting if check.reason == "incomparable"])
    if changed:
        fields = changed[0].detail.get("fields")
        names = listed([str(name) for name in fields], 3) if isinstance(fields, list) else "unit"
        facts.append(f"no longer comparable, {names} changed: {_names(changed)}")
    gaps = [check for check in waiting if check.rule is Rule.GAP]
    return facts + [explain(check) for check in gaps]
