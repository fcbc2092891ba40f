"""Every cell of the table in RULES.md, *Noise*, and what stands around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.special import nctdtr

from app.domain.assess import Champion
from app.domain.metrics import WELL_KNOWN
from app.domain.noise import judge_seeds, seeds_of, t_quantile
from app.domain.outcomes import Gate, Outcome, Rule
from app.domain.policies import Policy
from app.domain.promotion import EventKind, decide
from app.domain.sentences import explain
from app.domain.tolerances import Tolerances
from tests.domain.builders import (
    a_suite,
    a_verdict_of_seeds,
    an_evaluation,
    check_of,
    column,
    finding,
)

# Five seeds around 1.00 with s = 0.01: hi lies t(0.99, 4) · 0.01 · √(1/1 + 1/5) = 0.0410 above their mean.
QUIET = (1.0, 0.99, 1.01, 1.01, 0.99)


# The same with s = 0.1, so that hi lies 0.410 above the mean.
NOISY = (1.0, 0.9, 1.1, 1.1, 0.9)


def spread_by(share: float, seeds: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(1.0 + share * (x - 1.0) for x in seeds)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A candidate against the seeds of a champion in one group."""

    champion: tuple[float, ...]
    candidate: tuple[float, ...]
    outcome: Outcome
    reason: str | None = None
    notes: tuple[str, ...] = ()
    required: bool = True
    policy: Policy = field(default_factory=Policy)


ROWS = {
    # Worse.
    "worse than the limit and beyond hi": Row(champion=QUIET, candidate=(1.12,), outcome=Outcome.REGRESSED),
    "worse than the limit but within hi": Row(
        champion=NOISY, candidate=(1.12,), outcome=Outcome.INCONCLUSIVE, reason="seed_noise"
    ),
    "worse than half the limit and beyond hi": Row(
        champion=QUIET, candidate=(1.06,), outcome=Outcome.REGRESSED
    ),
    "worse than half the limit but within hi": Row(champion=NOISY, candidate=(1.06,), outcome=Outcome.PASS),
    "less worse, beyond hi": Row(
        champion=QUIET, candidate=(1.045,), outcome=Outcome.PASS, notes=("small_but_real",)
    ),
    "less worse, within hi": Row(champion=QUIET, candidate=(1.03,), outcome=Outcome.PASS),
    "exactly half the limit is less": Row(
        champion=QUIET, candidate=(1.05,), outcome=Outcome.PASS, notes=("small_but_real",)
    ),
    "far worse": Row(champion=NOISY, candidate=(2.0,), outcome=Outcome.REGRESSED),
    # Better.
    "better than the tolerance and beyond the noise": Row(
        champion=QUIET, candidate=(0.93,), outcome=Outcome.IMPROVED
    ),
    "better than the tolerance but within the noise holds nothing up": Row(
        champion=NOISY,
        candidate=(0.93,),
        outcome=Outcome.INCONCLUSIVE,
        reason="seed_noise",
        notes=("looks_better",),
        required=False,
    ),
    "better than half the tolerance and beyond the noise": Row(
        champion=spread_by(0.5, QUIET), candidate=(0.97,), outcome=Outcome.IMPROVED
    ),
    "better than half the tolerance but within the noise": Row(
        champion=QUIET, candidate=(0.97,), outcome=Outcome.PASS
    ),
    "less better, beyond the noise": Row(
        champion=spread_by(0.2, QUIET), candidate=(0.98,), outcome=Outcome.PASS, notes=("small_but_real",)
    ),
    "less better, within the noise": Row(champion=QUIET, candidate=(0.98,), outcome=Outcome.PASS),
    # How many seeds.
    "more seeds of the candidate narrow the noise": Row(
        champion=(1.0, 0.96, 1.04, 1.04, 0.96), candidate=(1.13, 1.13, 1.13), outcome=Outcome.REGRESSED
    ),
    "one seed of the candidate with the same mean": Row(
        champion=(1.0, 0.96, 1.04, 1.04, 0.96),
        candidate=(1.13,),
        outcome=Outcome.INCONCLUSIVE,
        reason="seed_noise",
    ),
    "the candidate is judged by the mean of its seeds": Row(
        champion=QUIET, candidate=(1.3, 0.9, 0.8), outcome=Outcome.PASS
    ),
    "the champion is its mean, not its lucky seed": Row(
        champion=(0.9, 1.02, 1.01, 1.03, 1.04), candidate=(1.01,), outcome=Outcome.PASS
    ),
    "two seeds are too few to know the noise": Row(
        champion=(1.0, 1.5), candidate=(1.12,), outcome=Outcome.REGRESSED, notes=("single_seed",)
    ),
    "three are enough": Row(
        champion=(1.0, 1.5, 0.5), candidate=(1.12,), outcome=Outcome.INCONCLUSIVE, reason="seed_noise"
    ),
    "a policy may ask for more": Row(
        champion=NOISY,
        candidate=(1.12,),
        outcome=Outcome.REGRESSED,
        notes=("single_seed",),
        policy=Policy(min_seeds=6),
    ),
    "a policy may ask for less certainty": Row(
        champion=NOISY, candidate=(1.25,), outcome=Outcome.REGRESSED, policy=Policy(confidence=0.9)
    ),
    # No spread.
    "no spread, beyond the limit": Row(
        champion=(1.0, 1.0, 1.0), candidate=(1.12,), outcome=Outcome.REGRESSED, notes=("no_spread",)
    ),
    "no spread, half the limit is not enough": Row(
        champion=(1.0, 1.0, 1.0), candidate=(1.06,), outcome=Outcome.PASS, notes=("no_spread",)
    ),
    "float noise is no spread": Row(
        champion=(0.3, 0.1 + 0.2, 0.3), candidate=(0.32,), outcome=Outcome.PASS, notes=("no_spread",)
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_table_of_noise(row: Row) -> None:
    check = check_of(a_verdict_of_seeds(row.champion, row.candidate, policy=row.policy), "g")

    assert (check.outcome, check.reason, check.notes) == (row.outcome, row.reason, row.notes)
    assert check.required is row.required


def test_evidence_tells_how_many_seeds_there_are_and_where_noise_ends() -> None:
    check = check_of(a_verdict_of_seeds(QUIET, (1.12, 1.14)), "g")

    half = 3.746947 * 0.01 * math.sqrt(1 / 2 + 1 / 5)
    assert check.baseline == pytest.approx(1.0)
    assert check.candidate == pytest.approx(1.13)
    assert check.worsening == pytest.approx(0.13)
    assert check.limit == pytest.approx(0.1)
    assert check.detail["seeds"] == {
        "baseline": 5,
        "candidate": 2,
        "mean": pytest.approx(1.0),
        "deviation": pytest.approx(0.01),
        "hi": pytest.approx(1.0 + half),
    }


def test_quantile_is_one_sided() -> None:
    assert t_quantile(0.99, 4) == pytest.approx(3.746947, abs=1e-6)


def test_the_seeds_on_both_sides_of_a_target_do_not_make_a_perfect_mean() -> None:
    suite = a_suite(("g",), {"ph": {"direction": "target", "target": 7.0}})

    check = check_of(a_verdict_of_seeds((7.5, 6.5, 7.6), (7.55,), suite=suite, metric="ph"), "g", metric="ph")

    assert check.baseline == pytest.approx(7.0 + (0.5 + 0.5 + 0.6) / 3)
    assert check.outcome is Outcome.PASS


def test_mean_and_deviation_do_not_overflow() -> None:
    seeds = seeds_of(WELL_KNOWN["mse"], (1.7e308, 1.6e308, 1.5e308))

    assert seeds.mean == pytest.approx(1.6e308)
    assert seeds.deviation == pytest.approx(1e307)


def test_noise_leaves_the_gate_undecided_and_says_how_many_seeds_would_decide() -> None:
    verdict = a_verdict_of_seeds(NOISY, (1.3,))

    assert verdict.gate is Gate.UNDECIDED
    assert verdict.sentence == (
        "Undecided: worse, but could be noise: mse in g (run 2 more seeds); 1 of 1 cells judged against theirs-0."
    )


# Advice.


def test_the_fewest_more_seeds_that_would_decide() -> None:
    check = check_of(a_verdict_of_seeds(NOISY, (1.3,)), "g")
    add = check.detail["seeds_to_add"]

    assert add == 2
    assert check_of(a_verdict_of_seeds(NOISY, (1.3,) * add), "g").outcome is Outcome.INCONCLUSIVE
    assert check_of(a_verdict_of_seeds(NOISY, (1.3,) * (add + 1)), "g").outcome is Outcome.REGRESSED


def test_where_no_number_of_candidate_seeds_is_enough_both_recipes_need_more() -> None:
    check = check_of(a_verdict_of_seeds(NOISY, (1.12,)), "g")

    # With ever more seeds of the candidate the noise stays above 3.75 · 0.1 / √5 = 0.168.
    assert check.detail["seeds_to_add"] is None
    assert check.detail["seeds_to_add_each"] == 8
    assert explain(check) == (
        "mse in g: 1 → 1.12, 12.0 % worse (mean of 5 seeds → one); could be noise: run 8 more seeds of both recipes"
    )


@pytest.mark.parametrize(("n", "k"), [(3, 1), (5, 1), (5, 3), (10, 1), (30, 5)])
def test_the_minimum_detectable_effect_is_found_four_times_in_five(n: int, k: int) -> None:
    seeds = [1.0 + 0.1 * math.sqrt((n - 1) / n) * sign for sign in [1, -1] * (n // 2)] + [1.0] * (n % 2)
    check = check_of(a_verdict_of_seeds(seeds, (1.11,) * k), "g")

    deviation = check.detail["seeds"]["deviation"]
    found = check.detail["minimum_detectable_effect"] / (deviation * math.sqrt(1 / k + 1 / n))
    assert nctdtr(n - 1, found, t_quantile(0.99, n - 1)) == pytest.approx(0.2, abs=1e-6)


# Consequences.


def test_promotion_goes_by_the_means_that_the_verdict_used() -> None:
    lucky_champion, unlucky_candidate = (0.97, 1.02, 1.01, 1.03, 1.02), (1.0, 0.98, 0.99)
    verdict = a_verdict_of_seeds(lucky_champion, unlucky_candidate)
    suite = a_suite(("g",))

    decision = decide(
        EventKind.PROMOTE,
        verdict=verdict,
        candidate=an_evaluation({"g": 1.0}),
        champion=Champion(evaluation=an_evaluation({"g": 0.97}, id="champion"), suite=suite),
        suite=suite,
        policy=Policy(),
        reason=None,
    )

    assert verdict.gate is Gate.OPEN
    assert column(verdict, "overall").value == pytest.approx(0.99)
    assert column(verdict, "overall").baseline == pytest.approx(1.01)
    assert decision.allowed


def test_a_gain_that_noise_could_explain_holds_nothing_up_and_is_said() -> None:
    verdict = a_verdict_of_seeds(NOISY, (0.93,))

    assert verdict.gate is Gate.OPEN
    assert "1 better but could be noise" in verdict.sentence
    assert verdict.judged_cells == 1


def test_a_gain_that_noise_could_explain_masks_a_group_that_regressed() -> None:
    suite = a_suite(("a", "b"))
    champion = [{"a": 1.0, "b": 10.0 + x} for x in (0.0, 2.0, -2.0)]
    verdict = a_verdict_of_seeds(champion, [{"a": 2.0, "b": 8.0}], suite=suite)

    assert check_of(verdict, "overall").notes == ("looks_better",)
    masked = finding(verdict, Rule.MASKED)
    assert masked is not None
    assert masked.detail["groups"] == ["a"]


@pytest.mark.parametrize(("deviation", "most"), [(0.01, 0.002), (0.02, 0.01), (0.05, 0.013), (0.2, 0.013)])
def test_false_alarms_stay_at_or_below_one_in_a_hundred(deviation: float, most: float) -> None:
    draws = np.random.default_rng(20261121).normal(1.0, deviation, (4000, 6))
    metric = WELL_KNOWN["mse"]

    alarms = sum(
        judge_seeds(metric, seeds_of(metric, row[:5]), seeds_of(metric, row[5:]), Tolerances()).outcome
        is Outcome.REGRESSED
        for row in draws.tolist()
    )

    # Three standard errors of a rate of 1 % in 4,000 draws are half a percent.
    assert alarms <= most * 4000 * 1.2


def test_a_real_worsening_by_a_fifth_is_seen() -> None:
    draws = np.random.default_rng(20261121).normal(1.0, 0.02, (2000, 6))
    metric = WELL_KNOWN["mse"]

    seen = sum(
        judge_seeds(metric, seeds_of(metric, row[:5]), seeds_of(metric, [1.2 * row[5]]), Tolerances()).outcome
        is Outcome.REGRESSED
        for row in draws.tolist()
    )

    assert seen > 0.97 * 2000
