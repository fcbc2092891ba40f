"""Many cells of one metric at once: what `cells` says of each, for ordinary numbers (see `figures`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from app.domain.comparison import two_standard_errors
from app.domain.figures import Figures, Flags, Numbers, is_ordinary
from app.domain.metrics import Direction, Metric
from app.domain.noise import evidence, spread_of_difference
from app.domain.outcomes import Check, Json, Outcome, Rule
from app.domain.policy import Combine
from app.domain.scaling import LARGEST, SLACK
from app.domain.tolerances import Terms, Tolerances

_PASS, _IMPROVED, _SMALL_SAMPLE, _REGRESSED, _SMALL_BUT_REAL, _LEAVE = range(6)
_OUTCOMES = (Outcome.PASS, Outcome.IMPROVED, Outcome.INCONCLUSIVE, Outcome.REGRESSED, Outcome.PASS)
_REASONS = (None, None, "small_sample", None, None)
_SLOTS = {field.name: getattr(Check, field.name).__set__ for field in fields(Check)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """Both sides of a metric's groups against one champion; every field has one entry a group.

    Args:
        index: Which group it is.
        baseline, candidate: The numbers to compare: means where the champion's seeds are known.
        n, k: How many seeds stand on the champion's and the candidate's side.
        deviation: Of the champion's seeds; 0 where they are not known.
        known: Whether there are enough of the champion's seeds to judge by them.
        plain: Whether the numbers here are all there is to say; else the rule must look at the cell itself.
        incomparable: A side has no value, or the two do not mean the same.
        noise: Two standard errors of the difference, 0 where they are not known.
        n_unknown: An n is unknown.
    """

    index: NDArray[np.intp]
    baseline: Numbers
    candidate: Numbers
    n: Numbers
    k: Numbers
    deviation: Numbers
    known: Flags
    plain: Flags
    incomparable: Flags
    noise: Numbers
    n_unknown: Flags

    def only(self, which: NDArray[np.intp]) -> Lineup:
        """Those groups alone."""
        return Lineup(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """The seeds of one side: its own numbers in the first row, a row for each sibling, NaN where none counts.

    Args:
        odd: Where a sibling has a value that the rule must look at itself.
    """

    numbers: Numbers
    odd: Flags


def lineup_of(
    metric: Metric,
    theirs: Figures,
    ours: Figures,
    differing: Flags,
    crowds: tuple[Crowd, Crowd] | None,
    min_seeds: int,
) -> Lineup:
    plain = theirs.plain & ours.plain & ~differing
    baseline, candidate = theirs.numbers, ours.numbers
    n = k = np.ones(len(baseline))
    deviation = np.zeros(len(baseline))
    known = np.zeros(len(baseline), dtype=np.bool_)
    if crowds is not None:
        n = np.sum(~np.isnan(crowds[0].numbers), axis=0).astype(np.float64)
        known = n >= min_seeds
        mean, deviation = means_and_deviations(metric, crowds[0].numbers)
        baseline = np.where(known, mean, baseline)
        deviation = np.where(known, deviation, 0.0)
        k = np.where(known, np.sum(~np.isnan(crowds[1].numbers), axis=0), 1.0)
        candidate = np.where(known, means_and_deviations(metric, crowds[1].numbers)[0], candidate)
        plain = plain & ~crowds[0].odd & ~crowds[1].odd & is_ordinary(metric, baseline, candidate)
    return Lineup(
        index=np.arange(len(baseline)),
        baseline=baseline,
        candidate=candidate,
        n=n,
        k=k,
        deviation=deviation,
        known=known,
        plain=plain,
        incomparable=theirs.absent | ours.absent | differing,
        noise=_standard_errors(theirs, ours),
        n_unknown=theirs.n_unknown | ours.n_unknown,
    )


def _standard_errors(theirs: Figures, ours: Figures) -> Numbers:
    if not (theirs.has_stderr and ours.has_stderr):
        return np.zeros(len(ours.rows))
    pairs = zip(theirs.rows, ours.rows, strict=True)
    return np.array([0.0 if b is None or c is None else two_standard_errors(b, c) for b, c in pairs])


def means_and_deviations(metric: Metric, numbers: Numbers) -> tuple[Numbers, Numbers]:
    """`noise.seeds_of` for every column; its own number where a column has one alone."""
    with np.errstate(all="ignore"):
        count = np.sum(~np.isnan(numbers), axis=0)
        alone = count <= 1
        # + 0.0 makes one zero of two, as in the rule; NaN is sorted last.
        ascending = np.sort(numbers + 0.0, axis=0)
        size = np.fmax.reduce(np.abs(ascending), axis=0)
        mean, deviation = _mean_and_deviation(ascending, count)
        if metric.direction is Direction.TARGET:
            center = metric.target or 0.0
            distance, deviation = _mean_and_deviation(np.sort(np.abs(ascending - center), axis=0), count)
            mean = center + np.copysign(distance, mean - center)
        deviation = np.where(alone | (deviation <= SLACK * size), 0.0, deviation)
        return np.where(alone, numbers[0], mean), deviation


def _mean_and_deviation(ascending: Numbers, count: NDArray[np.intp]) -> tuple[Numbers, Numbers]:
    low = ascending[0]
    above = np.zeros_like(low)
    for row in ascending:
        above = above + np.where(np.isnan(row), 0.0, row - low)
    mean = low + above / np.maximum(count, 1)
    squares = np.zeros_like(low)
    for row in ascending:
        squares = squares + np.where(np.isnan(row), 0.0, (row - mean) * (row - mean))
    return mean, np.sqrt(squares / np.maximum(count - 1, 1))


def checks_of(
    metric: Metric, groups: Sequence[str], terms: Terms, lineup: Lineup, which: Flags, *, same_recipe: bool
) -> list[Check | None]:
    """The check of each group in `which` that is plain; None for the others and where the rule must decide.

    Args:
        terms: Of all those groups.
    """
    found: list[Check | None] = [None] * len(groups)
    plain = lineup.only(np.flatnonzero(which & lineup.plain))
    half = np.minimum(plain.deviation * _spreads(plain, terms.tolerances.confidence), LARGEST)
    codes, worsening, limit = _judged(metric, plain, half, terms.tolerances)
    decided = np.flatnonzero(codes != _LEAVE)
    plain = plain.only(decided)
    positions, outcomes, known = plain.index.tolist(), codes[decided].tolist(), plain.known.tolist()
    means = plain.baseline.tolist()
    notes = _notes(same_recipe=same_recipe)
    note_of = 4 * (codes[decided] == _SMALL_BUT_REAL) + 2 * plain.n_unknown + plain.known
    details: list[dict[str, Json]] = [{} for _ in positions]
    if any(known):
        of_seeds = zip(details, known, plain.n, plain.k, means, plain.deviation, half[decided], strict=True)
        for detail, is_known, n, k, mean, deviation, width in of_seeds:
            if is_known:
                detail["seeds"] = evidence(metric, int(n), int(k), mean, float(deviation), float(width))
    checks = _filled(
        len(positions),
        rule=repeat(Rule.REGRESSION),
        metric=repeat(metric.name),
        group=[groups[i] for i in positions],
        outcome=[_OUTCOMES[code] for code in outcomes],
        required=repeat(terms.required),
        reason=[_REASONS[code] for code in outcomes],
        notes=[notes[which] for which in note_of.tolist()],
        baseline=means,
        candidate=plain.candidate.tolist(),
        worsening=worsening[decided].tolist(),
        limit=limit[decided].tolist(),
        detail=details,
    )
    for i, check in zip(positions, checks, strict=True):
        found[i] = check
    return found


def _judged(
    metric: Metric, plain: Lineup, half: Numbers, tolerances: Tolerances
) -> tuple[NDArray[np.intp], Numbers, Numbers]:
    """Outcome, worsening and limit of each group."""
    worse, scale, limit = difference_of(metric, plain.baseline, plain.candidate, tolerances)
    size = np.maximum(np.abs(plain.baseline), np.abs(plain.candidate))
    improvement = np.maximum(tolerances.improve_tol * scale, 0.0)
    if plain.known.all():
        codes = _by_table(worse, size, limit, improvement, half)
    else:
        codes = _by_effect(worse, size, limit, improvement, plain.noise)
        if plain.known.any():
            codes = np.where(plain.known, _by_table(worse, size, limit, improvement, half), codes)
    # What only the rule decides: a baseline of zero, seeds without a spread.
    left = (scale <= tolerances.zero_tol) | (plain.known & (plain.deviation == 0.0))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        worsening = np.clip(worse / scale, -LARGEST, LARGEST)
    return np.where(left, _LEAVE, codes), worsening, np.minimum(limit, LARGEST)


def _filled(count: int, **columns: Iterable[object]) -> list[Check]:
    """Checks from one column a field.

    A frozen dataclass sets its fields one by one; ten thousand checks take a quarter of the time when each of
    their slots is filled for all of them at once.
    """
    if columns.keys() != _SLOTS.keys():
        raise ValueError(f"a check has the fields {', '.join(_SLOTS)}")
    checks = [object.__new__(Check) for _ in range(count)]
    for name, values in columns.items():
        deque(map(_SLOTS[name], checks, values), maxlen=0)
    return checks


def difference_of(
    metric: Metric, baseline: Numbers, candidate: Numbers, tolerances: Tolerances
) -> tuple[Numbers, Numbers, Numbers]:
    """`comparison.difference`: worse, scale and limit."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap_b, gap_c = _gap(metric, baseline), _gap(metric, candidate)
        worse = gap_c - gap_b
    has_ideal = metric.ideal is not None or metric.direction is Direction.TARGET
    scale = gap_b if has_ideal else np.abs(baseline)
    given = [] if tolerances.abs_tol is None else [np.full_like(scale, tolerances.abs_tol)]
    with np.errstate(invalid="ignore", over="ignore"):
        given += [] if tolerances.rel_tol is None else [tolerances.rel_tol * scale]
    if not given:
        return worse, scale, np.zeros_like(scale)
    chosen = np.minimum if tolerances.combine is Combine.ANY else np.maximum
    return worse, scale, chosen(given[0], given[-1])


def _gap(metric: Metric, numbers: Numbers) -> Numbers:
    if metric.direction is Direction.TARGET:
        return np.abs(numbers - (metric.target or 0.0))
    ideal = metric.ideal or 0.0
    return ideal - numbers if metric.direction is Direction.HIGHER else numbers - ideal


def _by_effect(
    worse: Numbers, size: Numbers, limit: Numbers, improvement: Numbers, noise: Numbers
) -> NDArray[np.intp]:
    beyond_limit = np.where(worse > noise, _REGRESSED, _SMALL_SAMPLE)
    within = np.where(_beyond(-worse, improvement, size), _IMPROVED, _PASS)
    return np.where(_beyond(worse, limit, size), beyond_limit, within)


def _by_table(
    worse: Numbers, size: Numbers, limit: Numbers, improvement: Numbers, half: Numbers
) -> NDArray[np.intp]:
    """`noise.by_table`; what is inconclusive needs advice, which the rule gives."""
    worse_than_noise, better_than_noise = _beyond(worse, half, size), _beyond(-worse, half, size)
    return np.select(
        [
            _beyond(worse, limit, size),
            _beyond(worse, limit / 2.0, size) & worse_than_noise,
            _beyond(-worse, improvement, size),
            _beyond(-worse, improvement / 2.0, size) & better_than_noise,
            worse_than_noise | better_than_noise,
        ],
        [
            np.where(worse_than_noise, _REGRESSED, _LEAVE),
            _REGRESSED,
            np.where(better_than_noise, _IMPROVED, _LEAVE),
            _IMPROVED,
            _SMALL_BUT_REAL,
        ],
        _PASS,
    )


def _beyond(x: Numbers, limit: Numbers, size: Numbers) -> Flags:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(x - limit > SLACK * np.maximum(limit, size))


def _spreads(plain: Lineup, confidence: float) -> Numbers:
    """`noise.spread_of_difference` for each group; there are few combinations of n and k."""
    spreads = np.zeros(len(plain.n))
    combinations = set(zip(plain.n[plain.known].tolist(), plain.k[plain.known].tolist(), strict=True))
    for n, k in sorted(combinations):
        which = plain.known & (plain.n == n) & (plain.k == k)
        spreads[which] = spread_of_difference(confidence, int(n), int(k))
    return spreads


def _notes(*, same_recipe: bool) -> list[tuple[str, ...]]:
    """The notes of a check at 4 · small but real + 2 · n unknown + judged by seeds; in the rule's order."""
    return [
        (
            *(["small_but_real"] if small else []),
            *(["same_recipe"] if by_seeds and same_recipe else []),
            *(["n_unknown"] if n_unknown else []),
            *([] if by_seeds else ["single_seed"]),
        )
        for small in (False, True)
        for n_unknown in (False, True)
        for by_seeds in (False, True)
    ]
