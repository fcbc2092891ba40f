"""The rows of the table in RULES.md, *One metric, one group, against the champion*."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from app.domain.evaluations import Bound
from app.domain.outcomes import Outcome
from app.domain.policies import Combine, Policy, PolicyRule, Scope, ScopeKind

ONE = ("g",)


AT_LEAST, AT_MOST = {"g": Bound.AT_LEAST}, {"g": Bound.AT_MOST}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Two numbers in one group `g` and what must come of them."""

    before: float | None
    after: float | None
    outcome: Outcome
    reason: str | None = None
    required: bool = True
    worsening: float | None = None
    metric: str = "mse"
    spec: object = None
    policy: Policy = field(default_factory=Policy)
    n: int | None = 100
    n_before: int | None = 100
    stderr: float | None = None
    stderr_before: float | None = None
    bounds: dict[str, Bound] = field(default_factory=dict)
    bounds_before: dict[str, Bound] = field(default_factory=dict)
    notes: tuple[str, ...] | None = None


ABSOLUTE = Policy(rel_tol=None, abs_tol=0.01)


BOTH = Policy(rel_tol=0.10, abs_tol=0.5)


ANY = Policy(rel_tol=0.10, abs_tol=0.5, combine=Combine.ANY)


DEMANDING = Policy(rules=(PolicyRule(scope=Scope(kind=ScopeKind.GROUP, name="g"), required=True),))


LOWER_NO_IDEAL = {"direction": "lower"}


TARGET = {"direction": "target", "target": 5.0}


ROWS = {
    # The formula.
    "exactly +10 % passes": Row(before=1.0, after=1.1, outcome=Outcome.PASS, worsening=0.1),
    "exactly +10 % in binary passes": Row(before=0.3, after=0.33, outcome=Outcome.PASS),
    "a little over +10 % regresses": Row(before=1.0, after=1.1001, outcome=Outcome.REGRESSED),
    "+9.99 % passes": Row(before=1.0, after=1.0999, outcome=Outcome.PASS),
    "equal passes": Row(before=1.0, after=1.0, outcome=Outcome.PASS, worsening=0.0),
    "exactly -5 % is not improved": Row(before=1.0, after=0.95, outcome=Outcome.PASS),
    "-6 % is improved": Row(before=1.0, after=0.94, outcome=Outcome.IMPROVED, worsening=-0.06),
    "accuracy 0.95 to 0.86": Row(
        metric="accuracy", before=0.95, after=0.86, outcome=Outcome.REGRESSED, worsening=1.8
    ),
    "R² 0.99 to 0.90": Row(metric="r2", before=0.99, after=0.90, outcome=Outcome.REGRESSED, worsening=9.0),
    "R² from negative to less negative": Row(metric="r2", before=-0.5, after=-0.2, outcome=Outcome.IMPROVED),
    "no ideal, negative, worse": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-2.0, after=-1.7, outcome=Outcome.REGRESSED, worsening=0.15
    ),
    "no ideal, negative, within": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-2.0, after=-1.81, outcome=Outcome.PASS
    ),
    "no ideal, across zero": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=-0.1, after=0.1, outcome=Outcome.REGRESSED, worsening=2.0
    ),
    "reward, higher without ideal": Row(
        metric="reward", spec="higher", before=-10.0, after=-8.0, outcome=Outcome.IMPROVED, worsening=-0.2
    ),
    "target, nearer from the other side": Row(
        metric="ph", spec=TARGET, before=6.0, after=4.5, outcome=Outcome.IMPROVED, worsening=-0.5
    ),
    "target, further": Row(
        metric="ph", spec=TARGET, before=6.0, after=3.0, outcome=Outcome.REGRESSED, worsening=1.0
    ),
    "absolute tolerance holds": Row(before=1.0, after=1.01, outcome=Outcome.PASS, policy=ABSOLUTE),
    "absolute tolerance exceeded": Row(before=1.0, after=1.02, outcome=Outcome.REGRESSED, policy=ABSOLUTE),
    "all tolerances must be exceeded": Row(before=1.0, after=1.4, outcome=Outcome.PASS, policy=BOTH),
    "any tolerance may be exceeded": Row(before=1.0, after=1.4, outcome=Outcome.REGRESSED, policy=ANY),
    # Not finite.
    "candidate NaN": Row(before=1.0, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate ∞": Row(before=1.0, after=math.inf, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate -∞": Row(before=1.0, after=-math.inf, outcome=Outcome.FAILED, reason="non_finite"),
    "candidate NaN with too few samples": Row(
        before=1.0, after=math.nan, n=3, outcome=Outcome.FAILED, reason="non_finite"
    ),
    "both NaN": Row(before=math.nan, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"),
    "baseline NaN": Row(before=math.nan, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"),
    "baseline ∞": Row(before=math.inf, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"),
    # Beyond the ideal.
    "accuracy 1.2": Row(
        metric="accuracy", before=0.9, after=1.2, outcome=Outcome.FAILED, reason="impossible_value"
    ),
    "negative error": Row(before=0.1, after=-0.01, outcome=Outcome.FAILED, reason="impossible_value"),
    "float noise beyond the ideal": Row(before=0.1, after=-1e-13, outcome=Outcome.IMPROVED),
    "impossible baseline": Row(
        before=-0.1, after=0.1, outcome=Outcome.NOT_EVALUATED, reason="baseline_invalid"
    ),
    "negative is possible without an ideal": Row(
        metric="nll", spec=LOWER_NO_IDEAL, before=0.1, after=-1.0, outcome=Outcome.IMPROVED
    ),
    # Scale ≤ zero_tol.
    "zero to zero": Row(before=0.0, after=0.0, outcome=Outcome.PASS),
    "tiny to zero": Row(before=1e-13, after=0.0, outcome=Outcome.IMPROVED),
    "perfect accuracy, worse": Row(
        metric="accuracy", before=1.0, after=0.99, outcome=Outcome.NOT_EVALUATED, reason="zero_baseline"
    ),
    "zero, worse, no abs_tol": Row(
        before=0.0, after=0.01, outcome=Outcome.NOT_EVALUATED, reason="zero_baseline"
    ),
    "zero, worse within abs_tol": Row(before=0.0, after=0.01, outcome=Outcome.PASS, policy=ABSOLUTE),
    "zero, worse beyond abs_tol": Row(before=0.0, after=0.02, outcome=Outcome.REGRESSED, policy=ABSOLUTE),
    "zero decides by abs_tol even with any": Row(before=0.0, after=0.4, outcome=Outcome.PASS, policy=ANY),
    "reward of zero, better": Row(
        metric="reward", spec="higher", before=0.0, after=1.0, outcome=Outcome.IMPROVED
    ),
    # Absent.
    "group absent in the candidate": Row(
        before=1.0, after=None, outcome=Outcome.FAILED, reason="missing_metric"
    ),
    "new on the candidate's side": Row(
        before=None, after=1.0, outcome=Outcome.NOT_EVALUATED, reason="no_baseline_value", required=False
    ),
    "new on the candidate's side and NaN": Row(
        before=None, after=math.nan, outcome=Outcome.FAILED, reason="non_finite"
    ),
    # Few samples.
    "candidate has too few": Row(
        before=1.0, after=9.0, n=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", required=False
    ),
    "baseline has too few": Row(
        before=1.0, after=9.0, n_before=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", required=False
    ),
    "exactly min_n is enough": Row(before=1.0, after=9.0, n=30, n_before=30, outcome=Outcome.REGRESSED),
    "too few in a demanded group": Row(
        before=1.0, after=9.0, n=29, outcome=Outcome.NOT_EVALUATED, reason="too_few", policy=DEMANDING
    ),
    "n unknown is judged": Row(
        before=1.0, after=9.0, n=None, outcome=Outcome.REGRESSED, notes=("n_unknown", "single_seed")
    ),
    "n known": Row(before=1.0, after=9.0, outcome=Outcome.REGRESSED, notes=("single_seed",)),
    # Standard errors.
    "worse than two standard errors": Row(
        before=1.0, after=1.5, stderr=0.1, stderr_before=0.1, outcome=Outcome.REGRESSED
    ),
    "within two standard errors": Row(
        before=1.0,
        after=1.5,
        stderr=0.2,
        stderr_before=0.2,
        outcome=Outcome.INCONCLUSIVE,
        reason="small_sample",
    ),
    "standard error known on one side only": Row(
        before=1.0, after=1.5, stderr=9.0, outcome=Outcome.REGRESSED
    ),
    "a pass needs no standard error": Row(
        before=1.0, after=1.05, stderr=9.0, stderr_before=9.0, outcome=Outcome.PASS
    ),
    "an improvement needs none either": Row(
        before=1.0, after=0.5, stderr=9.0, stderr_before=9.0, outcome=Outcome.IMPROVED
    ),
    # Bounds.
    "≥ 10 against 1.0": Row(
        before=1.0, after=10.0, bounds=AT_LEAST, outcome=Outcome.REGRESSED, worsening=9.0
    ),
    "≥ 1.05 against 1.0": Row(
        before=1.0, after=1.05, bounds=AT_LEAST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "≤ 0.5 against 1.0": Row(before=1.0, after=0.5, bounds=AT_MOST, outcome=Outcome.IMPROVED),
    "≤ 1.05 against 1.0 is a pass at worst": Row(
        before=1.0, after=1.05, bounds=AT_MOST, outcome=Outcome.PASS
    ),
    "≤ 2.0 against 1.0": Row(
        before=1.0, after=2.0, bounds=AT_MOST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "1.0 against ≥ 10": Row(before=10.0, after=1.0, bounds_before=AT_LEAST, outcome=Outcome.IMPROVED),
    "11.5 against ≥ 10": Row(
        before=10.0, after=11.5, bounds_before=AT_LEAST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "2.0 against ≤ 1.0": Row(
        before=1.0, after=2.0, bounds_before=AT_MOST, outcome=Outcome.NOT_EVALUATED, reason="censored"
    ),
    "≥ 10 against ≥ 10": Row(
        before=10.0,
        after=10.0,
        bounds=AT_LEAST,
        bounds_before=AT_LEAST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
    "accuracy ≥ 0.99 against 0.95": Row(
        metric="accuracy", before=0.95, after=0.99, bounds=AT_LEAST, outcome=Outcome.IMPROVED
    ),
    "accuracy ≤ 0.86 against 0.95": Row(
        metric="accuracy", before=0.95, after=0.86, bounds=AT_MOST, outcome=Outcome.REGRESSED
    ),
    "accuracy ≤ 1.2 is possible": Row(
        metric="accuracy",
        before=0.95,
        after=1.2,
        bounds=AT_MOST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
    "accuracy ≥ 1.2 is not": Row(
        metric="accuracy",
        before=0.95,
        after=1.2,
        bounds=AT_LEAST,
        outcome=Outcome.FAILED,
        reason="impossible_value",
    ),
    "a bound that is NaN": Row(
        before=1.0, after=math.nan, bounds=AT_LEAST, outcome=Outcome.FAILED, reason="non_finite"
    ),
    "target, ≥ 9 against 6": Row(
        metric="ph", spec=TARGET, before=6.0, after=9.0, bounds=AT_LEAST, outcome=Outcome.REGRESSED
    ),
    "target, ≥ 3 against 6": Row(
        metric="ph",
        spec=TARGET,
        before=6.0,
        after=3.0,
        bounds=AT_LEAST,
        outcome=Outcome.NOT_EVALUATED,
        reason="censored",
    ),
}
