"""Numbers and single checks in words that a tired person understands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from app.domain.evaluations import OVERALL
from app.domain.outcomes import Check, Json, Outcome, Rule


def number(x: float | int | None) -> str:
    """A number for people: four significant digits, thousands apart, `–` for none."""
    if x is None:
        return "–"
    return _written(x, 4)


def numbers_apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ (0.374 and 0.37401)."""
    for digits in range(4, 18):
        written = _written(a, digits), _written(b, digits)
        if written[0] != written[1] or a == b:
            return written
    return repr(a), repr(b)


def _written(x: float | int, digits: int) -> str:
    if isinstance(x, float) and -1e3 < x < 1e3:
        return f"{x:.{digits}g}"
    if isinstance(x, int) or (math.isfinite(x) and x == math.floor(x) and 1e3 <= abs(x) < 1e15):
        return f"{x:,.0f}" if abs(x) < 10**15 else f"{float(x):.{digits}g}"
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    if 1e4 <= abs(x) < 1e15:
        return f"{x:,.{max(digits - 4, 0)}f}"
    return f"{x:.{digits}g}"


def percent(worsening: float | None) -> str:
    """`12.0 % worse`, `5.3 % better`, `unchanged`; `by no known share` where it is undefined (None)."""
    if worsening is None:
        return "by no known share"
    if abs(worsening) < 5e-4:
        return "unchanged"
    return f"{_share(abs(worsening))} {'worse' if worsening > 0 else 'better'}"


def signed_percent(worsening: float) -> str:
    """`+370 %` is worse, `-5.3 %` is better."""
    return f"{'+' if worsening >= 0 else '-'}{_share(abs(worsening))}"


def _share(x: float) -> str:
    if x > 1e4:
        return "over 1,000,000 %"
    return f"{100 * x:,.0f} %" if x >= 0.9995 else f"{100 * x:.1f} %"


def shortened(name: str, length: int = 40) -> str:
    """The name, cut in the middle so that both ends stay readable."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 3
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def listed(names: Sequence[str], shown: int = 2) -> str:
    """`a`, `a and b`, `a, b and 3 more`."""
    short = [shortened(name) for name in names[:shown]]
    if len(names) > shown:
        return f"{', '.join(short)} and {len(names) - shown} more"
    return " and ".join(filter(None, [", ".join(short[:-1]), *short[-1:]]))


def where(check: Check) -> str:
    """`mse in k=4,m=2`, `overall mse`, `mse in tier easy`."""
    metric = shortened(check.metric or "")
    if check.group is None:
        return metric
    if check.group == OVERALL:
        return f"overall {metric}".strip()
    return f"{metric} in {cell_name(check.group)}".strip()


def cell_name(group: str) -> str:
    return f"tier {shortened(group.removeprefix('tier:'))}" if group.startswith("tier:") else shortened(group)


def explain(check: Check) -> str:
    """One line that says what a check found, with its numbers."""
    if check.rule is Rule.LIMIT:
        return f"{where(check)}: {_of_limit(check)}"
    if check.rule is Rule.REGRESSION:
        return f"{where(check)}: {_of_regression(check)}"
    if check.rule is Rule.TREND:
        return f"{where(check)}: {_of_trend(check)}"
    return _of_finding(check)


_REGRESSION_REASONS = {
    "missing_metric": "the champion has it, this evaluation does not",
    "missing_group": "the champion has this group, this evaluation does not",
    "no_baseline": "no champion to compare with yet",
    "no_baseline_value": "new, the champion has no value here",
    "baseline_invalid": "the champion's value is not usable",
    "zero_baseline": "the champion is at zero and no absolute tolerance says how much worse is too much",
    "too_few": "too few samples to judge",
    "censored": "only a bound is known and it does not decide",
}


def _of_regression(check: Check) -> str:
    if check.reason == "non_finite":
        return f"{number(check.candidate)} is not a finite number"
    if check.reason == "impossible_value":
        return f"{number(check.candidate)} is beyond the best possible value"
    if check.reason == "incomparable":
        return f"does not compare with the champion's ({_names(check.detail.get('fields'))} changed)"
    if check.reason == "missing_group" and check.outcome is Outcome.NOT_EVALUATED:
        return "no value on either side"
    if check.reason == "small_sample":
        return f"{_change(check)}, which its standard errors could explain"
    if check.reason == "seed_noise":
        return f"{_change(check)}; could be noise{_advice(check)}"
    if check.reason in _REGRESSION_REASONS:
        return _REGRESSION_REASONS[check.reason]
    if "small_but_real" in check.notes:
        return f"{_change(check)}; small, but more than noise"
    return _change(check)


def _of_trend(check: Check) -> str:
    best = f"the best champion so far, {shortened(best_champion(check))}"
    if check.reason == "creep":
        return f"crept away from {best}: {_change(check)}"
    return f"against {best}: {_of_regression(check)}"


def best_champion(check: Check) -> str:
    """The run that a trend check compares with."""
    champion = check.detail.get("champion")
    return str(champion["run"]) if isinstance(champion, dict) else ""


def _advice(check: Check) -> str:
    advice = seeds_to_run(check)
    return f": {advice}" if advice else ""


def seeds_to_run(check: Check) -> str:
    """`run 4 more seeds`, of both recipes where the candidate's alone cannot tell; "" where none can."""
    for key, of in (("seeds_to_add", ""), ("seeds_to_add_each", " of both recipes")):
        add = check.detail.get(key)
        if isinstance(add, int) and not isinstance(add, bool):
            return f"run {number(add)} more seed{'s' if add > 1 else ''}{of}"
    return ""


def _change(check: Check) -> str:
    if check.baseline is None or check.candidate is None:
        return check.outcome.value
    before, after = numbers_apart(check.baseline, check.candidate)
    tail = "" if check.worsening is None else f", {percent(check.worsening)}"
    return f"{before} → {after}{tail}{_seeds(check)}"


def _seeds(check: Check) -> str:
    """` (means of 5 and 3 seeds)`, ` (mean of 5 seeds → one)`; "" for one seed against one."""
    seeds = check.detail.get("seeds")
    if not isinstance(seeds, dict):
        return ""
    theirs, ours = seeds["baseline"], seeds["candidate"]
    return f" (mean of {theirs} seeds → {f'mean of {ours}' if ours != 1 else 'one'})"


_LIMIT_REASONS = {
    "missing_metric": "not reported, and absent is not zero",
    "missing_group": "not reported for every group",
    "censored": "only a bound is known and it does not decide",
    "incomparable": "measured in another unit than its limit",
    "impossible_value": "beyond the best possible value",
}


def _of_limit(check: Check) -> str:
    if check.reason == "non_finite":
        return f"{number(check.candidate)} is not a finite number"
    if check.reason in _LIMIT_REASONS:
        return _LIMIT_REASONS[check.reason]
    if check.candidate is None or check.limit is None:
        return check.outcome.value
    value, limit = numbers_apart(check.candidate, check.limit)
    side = {"above_max": "above", "below_min": "below"}.get(check.reason or "", "within")
    return f"{value} is {side} its limit {limit}"


def _of_finding(check: Check) -> str:
    subject = _SUBJECTS[check.rule]
    if check.outcome is Outcome.PASS:
        return f"{subject}: in order"
    if check.outcome is Outcome.NOT_EVALUATED:
        return f"{subject}: not checked ({_WHY_NOT.get(check.reason or '', check.reason)})"
    return _FINDINGS[check.rule](check)


def _masked(check: Check) -> str:
    groups = check.detail.get("groups")
    names = [str(name) for name in groups] if isinstance(groups, list) else []
    verb = "improved" if check.detail.get("improved") else "did not regress"
    groups_are = "group" if len(names) == 1 else "groups"
    return f"the mean {verb} and hides {len(names)} {groups_are} that regressed: {listed(names, 3)}"


def _count(check: Check) -> str:
    return f"group counts add up to {_detail(check, 'groups')}, not {_detail(check, 'stated')}"


def _overall(check: Check) -> str:
    stated, groups = check.detail.get("stated"), check.detail.get("groups")
    if isinstance(stated, float) and isinstance(groups, float):
        said, found = numbers_apart(stated, groups)
        return f"stated overall {shortened(check.metric or '')} {said}, its groups give {found}"
    return f"stated overall {shortened(check.metric or '')} is {stated}"


def _loss(check: Check) -> str:
    if check.detail.get("not_recorded"):
        return f"loss parts not recorded: {_names(check.detail['not_recorded'])}"
    if check.detail.get("no_weight"):
        return f"loss parts without a weight: {_names(check.detail['no_weight'])}"
    return f"loss parts add up to {_detail(check, 'parts')}, not {_detail(check, 'stated')}"


def _gap(check: Check) -> str:
    if check.reason == "non_finite":
        return "training or validation loss is not a finite number"
    side = "small" if check.reason == "gap_too_small" else "large"
    bound = "below" if check.reason == "gap_too_small" else "above"
    as_text = (lambda x: f"{100 * x:.1f} %") if check.detail.get("relative") is True else number
    gap, limit = as_text(check.candidate or 0.0), as_text(check.limit or 0.0)
    return f"train-val gap {gap} is too {side} ({bound} {limit})"


def _imbalance(check: Check) -> str:
    share = check.detail.get("share")
    return (
        f"{shortened(check.group or '')} holds {100 * share:.0f} % of all samples"
        if isinstance(share, float)
        else ""
    )


def _reproducible(check: Check) -> str:
    missing = check.detail.get("missing")
    names = {"seed": "no seed", "split_seed": "the split has no seed"}
    return (
        listed([names.get(str(name), str(name)) for name in missing])
        if isinstance(missing, list)
        else "no seed"
    )


def _mix_shift(check: Check) -> str:
    shares = check.detail.get("shares")
    groups = list(shares) if isinstance(shares, dict) else []
    return f"sample shares differ from the suite's in {len(groups)} groups"


_SUBJECTS = {
    Rule.MASKED: "masked groups",
    Rule.COUNT: "group counts",
    Rule.OVERALL: "stated overall",
    Rule.LOSS_DECOMPOSITION: "loss parts",
    Rule.GAP: "train-val gap",
    Rule.IMBALANCE: "balance of the groups",
    Rule.REPRODUCIBLE: "seeds",
    Rule.MIX_SHIFT: "sample shares",
}
_WHY_NOT = {
    "n_unknown": "not every group says its n",
    "censored": "a group is known only as a bound",
    "non_finite": "a group is not a finite number",
    "missing_loss": "training or validation loss not recorded",
    "zero_loss": "nothing is relative to a validation loss of zero",
}
_FINDINGS: dict[Rule, Callable[[Check], str]] = {
    Rule.MASKED: _masked,
    Rule.COUNT: _count,
    Rule.OVERALL: _overall,
    Rule.LOSS_DECOMPOSITION: _loss,
    Rule.GAP: _gap,
    Rule.IMBALANCE: _imbalance,
    Rule.REPRODUCIBLE: _reproducible,
    Rule.MIX_SHIFT: _mix_shift,
}


def _detail(check: Check, key: str) -> str:
    value = check.detail.get(key)
    return number(value) if isinstance(value, int | float) else str(value)


def _names(value: Json) -> str:
    return listed([str(name) for name in value], 3) if isinstance(value, list) else "something"
