"""Does what the run says agree with itself (RULES.md, *Integrity*, the rows that need no manifest)?

A failed reconciliation is required; a finding (gap, imbalance, not_reproducible, mix_shift) is advisory.
Where nothing was stated there is nothing to reconcile and no check.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from app.domain.aggregates import Pools
from app.domain.evaluations import OVERALL, Bound, Evaluation, Loss, Value
from app.domain.metrics import Direction, Metric, Pooling
from app.domain.outcomes import Check, Json, Outcome, Rule
from app.domain.policy import GapBand, Policy
from app.domain.scaling import beyond, difference, exponent_for, ratio, scaled, total, unscaled
from app.domain.suites import Suite, counts_of, has_explicit_weights, lead_metric, weights
from app.domain.weighing import pooled, weighted_mean

# Of Σ share · |value|: how far a stated overall may lie from what the groups pool to.
OVERALL_TOLERANCE = 0.01
# Of Σ |weight · part|: room for parts that were averaged and rounded one by one.
LOSS_TOLERANCE = 0.001
IMBALANCE_SHARE = 0.5
MIX_SHIFT_SHARE = 0.01
MIX_SHIFT_STANDARD_ERRORS = 4.0


def integrity_checks(pools: Pools, evaluation: Evaluation, policy: Policy) -> list[Check]:
    """Every reconciliation and finding; `pools` holds the candidate alone."""
    counts = counts_of(evaluation, pools.suite)
    found = [
        count_check(evaluation, counts),
        *(
            check
            for metric in pools.suite.metrics
            for check in overall_checks(pools, evaluation, metric, counts)
        ),
        loss_check(evaluation.loss),
        gap_check(evaluation.loss, lead_metric(pools.suite), policy.gap),
        imbalance_check(counts),
        reproducible_check(evaluation),
        mix_shift_check(pools.suite, counts),
    ]
    return [check for check in found if check is not None]


def count_check(evaluation: Evaluation, counts: Mapping[str, int | None]) -> Check | None:
    """The group n must sum to the stated total."""
    stated = evaluation.stated.n
    if stated is None or not counts:
        return None
    known = [n for n in counts.values() if n is not None]
    if len(known) < len(counts):
        unknown: list[Json] = [group for group, n in counts.items() if n is None]
        return _cannot(Rule.COUNT, None, "n_unknown", {"stated": stated, "unknown": unknown})
    detail: dict[str, Json] = {"stated": stated, "groups": sum(known)}
    return _reconciled(Rule.COUNT, None, "count_mismatch", sum(known) == stated, detail)


def overall_checks(
    pools: Pools, evaluation: Evaluation, metric: Metric, counts: Mapping[str, int | None]
) -> list[Check]:
    """The stated overall of a metric that pools must be what its groups pool to with the run's own n."""
    values = list(pools.candidate.of(metric).values())
    if metric.pooling is Pooling.NONE or not values:
        return []
    measured = pools.candidate.whole.get(metric.name)
    claims = [evaluation.stated.overall.get(metric.name), None if measured is None else measured.value]
    # A run may claim its overall in both places; the same number is reconciled once.
    distinct = {repr(claim): claim for claim in claims if claim is not None}
    return [_overall_check(metric, claim, values, counts) for claim in distinct.values()]


def _overall_check(
    metric: Metric, stated: float, values: list[Value], counts: Mapping[str, int | None]
) -> Check:
    shares = {
        value.group: n for value in values if (n := counts.get(value.group) if value.n is None else value.n)
    }
    unknown = [value.group for value in values if value.n is None and counts.get(value.group) is None]
    if unknown:
        return _cannot(Rule.OVERALL, metric, "n_unknown", {"stated": _json(stated), "unknown": list(unknown)})
    if any(value.bound is not Bound.EXACT for value in values):
        return _cannot(Rule.OVERALL, metric, "censored", {"stated": _json(stated)})
    whole = pooled(values, shares, metric.pooling)
    if whole is None or not math.isfinite(whole.value):
        return _cannot(Rule.OVERALL, metric, "non_finite", {"stated": _json(stated)})
    sizes = weighted_mean(
        [(shares[value.group], abs(value.value)) for value in values if value.group in shares]
    )
    tolerance = max(OVERALL_TOLERANCE * sizes, 2.0 * (whole.stderr or 0.0), stated_rounding(stated))
    agrees = math.isfinite(stated) and not _differs(stated, whole.value, tolerance)
    detail: dict[str, Json] = {"stated": _json(stated), "groups": whole.value, "tolerance": _json(tolerance)}
    return _reconciled(Rule.OVERALL, metric, "overall_mismatch", agrees, detail)


def _differs(stated: float, computed: float, tolerance: float) -> bool:
    exponent = exponent_for(stated, computed)
    a, b = scaled(stated, exponent), scaled(computed, exponent)
    return beyond(abs(a - b), scaled(tolerance, exponent), abs(a), abs(b))


def stated_rounding(stated: float) -> float:
    """Half a unit of the last decimal that the number was written with: 0.48 → 0.005; whole numbers → 0."""
    if not math.isfinite(stated) or stated == math.floor(stated):
        return 0.0
    last_place = int(Decimal(repr(stated)).normalize().as_tuple().exponent)
    return float(Decimal(5).scaleb(last_place - 1))


def loss_check(loss: Loss) -> Check | None:
    """Σ weight · part = the stated total loss, every part recorded.

    With no weights at all every part counts once. With some, a part without one was forgotten, as was a
    weight whose part is not recorded (even a weight of 0: a schedule may have started there).
    """
    if loss.total is None or not (loss.parts or loss.weights):
        return None
    no_part = sorted(loss.weights.keys() - loss.parts.keys())
    no_weight = sorted(loss.parts.keys() - loss.weights.keys()) if loss.weights else []
    terms = [_product(loss.weights.get(name, 1.0), part) for name, part in loss.parts.items()]
    computed, sizes = total(terms), total(map(abs, terms))
    detail: dict[str, Json] = {
        "stated": _json(loss.total),
        "parts": _json(computed),
        "not_recorded": list(no_part),
        "no_weight": list(no_weight),
    }
    agrees = not no_part and not no_weight and math.isfinite(loss.total) and math.isfinite(computed)
    if agrees:
        tolerance = max(LOSS_TOLERANCE * sizes, stated_rounding(loss.total))
        agrees = not _differs(loss.total, computed, tolerance)
    return _reconciled(Rule.LOSS_DECOMPOSITION, None, "loss_decomposition", agrees, detail)


def _product(weight: float, part: float) -> float:
    if not (math.isfinite(weight) and math.isfinite(part)):
        return weight * part
    exponent = exponent_for(weight, part)
    return unscaled(scaled(weight, exponent) * scaled(part, exponent), 2 * exponent)


def gap_check(loss: Loss, lead: Metric | None, band: GapBand | None) -> Check | None:
    """val − train in the worse direction should lie in the policy's band; no band, no check.

    A gap that is too small tells as much as one too large: noisy copies of validation rows close it.
    """
    if band is None:
        return None
    train, val = loss.train, loss.val
    if train is None or val is None:
        return _cannot(Rule.GAP, None, "missing_loss", {}, required=True) if band.required else None
    detail: dict[str, Json] = {"train": _json(train), "val": _json(val), "relative": band.relative}
    detail |= {"min": band.min, "max": band.max}
    if not (math.isfinite(train) and math.isfinite(val)):
        return _gap_found(band, Outcome.FAILED, "non_finite", None, detail)
    higher = lead is not None and lead.direction is Direction.HIGHER
    gap = difference(train, val) if higher else difference(val, train)
    if band.relative:
        if val == 0.0:
            return _cannot(Rule.GAP, None, "zero_loss", detail, required=band.required)
        gap = ratio(gap, abs(val))
    # Exactly on the edge of the band is inside, in floats too: the slack is that of the two losses.
    size = 1.0 if band.relative else max(abs(train), abs(val))
    below = band.min is not None and beyond(difference(band.min, gap), 0.0, size)
    above = band.max is not None and beyond(difference(gap, band.max), 0.0, size)
    reason = "gap_too_small" if below else "gap_too_large" if above else None
    return _gap_found(band, Outcome.FAILED if reason else Outcome.PASS, reason, gap, detail)


def _gap_found(
    band: GapBand, outcome: Outcome, reason: str | None, gap: float | None, detail: Mapping[str, Json]
) -> Check:
    limit = band.min if reason == "gap_too_small" else band.max if reason == "gap_too_large" else None
    return Check(
        rule=Rule.GAP,
        outcome=outcome,
        required=band.required,
        reason=reason,
        candidate=gap,
        limit=limit,
        detail=detail,
    )


def imbalance_check(counts: Mapping[str, int | None]) -> Check | None:
    """Whether one of several groups holds more than half of all samples; asked where every n is known."""
    known = {group: n for group, n in counts.items() if n is not None}
    whole = sum(known.values())
    if len(counts) < 2 or len(known) < len(counts) or whole <= 0:
        return None
    group = max(sorted(known), key=lambda name: known[name])
    share = known[group] / whole
    detail: dict[str, Json] = {"group": group, "n": known[group], "total": whole, "share": share}
    return _finding(Rule.IMBALANCE, "imbalance", share > IMBALANCE_SHARE, detail, group=group)


def reproducible_check(evaluation: Evaluation) -> Check | None:
    """Whether run and split were seeded; no check while neither is known to be missing."""
    missing: list[Json] = []
    if evaluation.seeded is False:
        missing.append("seed")
    if evaluation.split_seeded is False:
        missing.append("split_seed")
    if not missing and not (evaluation.seeded and evaluation.split_seeded):
        return None
    return _finding(
        Rule.REPRODUCIBLE, "not_reproducible", bool(missing), {"missing": missing} if missing else {}
    )


def mix_shift_check(suite: Suite, counts: Mapping[str, int | None]) -> Check | None:
    """Whether the run's n shares differ from the suite's by over 1 % of the whole and 4 standard errors."""
    if not (has_explicit_weights(suite) or suite.frozen_weights):
        return None
    suite_shares = weights(suite)
    known = {group: n for group, n in counts.items() if n is not None and group in suite_shares}
    whole = sum(known.values())
    if len(known) < len(counts) or whole <= 0:
        return None
    in_common = math.fsum(suite_shares[group] for group in known)
    shifted: dict[str, Json] = {}
    for group in sorted(known):
        own, suites = known[group] / whole, suite_shares[group] / in_common
        standard_error = math.sqrt(suites * (1.0 - suites) / whole) if suites < 1.0 else 0.0
        off = abs(own - suites)
        if beyond(off, MIX_SHIFT_SHARE, 1.0) and off > MIX_SHIFT_STANDARD_ERRORS * standard_error:
            shifted[group] = [own, suites]
    return _finding(Rule.MIX_SHIFT, "mix_shift", bool(shifted), {"shares": shifted} if shifted else {})


def _reconciled(
    rule: Rule, metric: Metric | None, reason: str, agrees: bool, detail: Mapping[str, Json]
) -> Check:
    return Check(
        rule=rule,
        metric=None if metric is None else metric.name,
        group=None if metric is None else OVERALL,
        outcome=Outcome.PASS if agrees else Outcome.FAILED,
        required=True,
        reason=None if agrees else reason,
        detail=detail,
    )


def _cannot(
    rule: Rule, metric: Metric | None, reason: str, detail: Mapping[str, Json], *, required: bool = False
) -> Check:
    return Check(
        rule=rule,
        metric=None if metric is None else metric.name,
        group=None if metric is None else OVERALL,
        outcome=Outcome.NOT_EVALUATED,
        required=required,
        reason=reason,
        detail=detail,
    )


def _finding(
    rule: Rule, reason: str, found: bool, detail: Mapping[str, Json], *, group: str | None = None
) -> Check:
    return Check(
        rule=rule,
        group=group,
        outcome=Outcome.FAILED if found else Outcome.PASS,
        required=False,
        reason=reason if found else None,
        detail=detail,
    )


def _json(number: float) -> Json:
    """A number as strict JSON, which has no NaN."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number
