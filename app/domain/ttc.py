"""Test-time compute: at each step some candidates are scored by a reward and one of them is chosen.

Four charts show whether the choosing helps: the chosen reward beside the mean of its candidates, how all rewards are
distributed, which candidate is chosen how often, and what was gained over the first step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CANDIDATES = 4096
_BINS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One step.

    Args:
        rewards: Of the candidates, in their order; at least one. NaN and ±∞ are rewards of candidates that broke.
        chosen: Which candidate was taken, from 0.
    """

    step: int
    rewards: tuple[float, ...]
    chosen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """What is drawn; the first four of shape (number of steps,), in the order of steps.

    Args:
        mean: Of the finite rewards of a step; NaN where none is.
        improvement: Relative to |chosen reward of the first step|; None everywhere where that is 0 or not finite, and
            where the step's own is not finite.
        edges, counts, chosen_counts: Histogram of all finite rewards, and of the chosen ones among them; edges one more
            than counts; all empty where no reward is finite.
        frequency: How often each candidate was chosen, as a share of the steps.
    """

    steps: tuple[int, ...]
    chosen: tuple[float, ...]
    mean: tuple[float, ...]
    improvement: tuple[float | None, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    chosen_counts: tuple[int, ...]
    frequency: tuple[float, ...]


def charts(selections: Sequence[Selection]) -> Charts:
    """The four charts of a run's selections, given in the order of their steps."""
    chosen = tuple(each.rewards[each.chosen] for each in selections)
    edges, counts, chosen_counts = _histogram([r for each in selections for r in each.rewards], chosen)
    often = Counter(each.chosen for each in selections)
    candidates = max((len(each.rewards) for each in selections), default=0)
    return Charts(
        steps=tuple(each.step for each in selections),
        chosen=chosen,
        mean=tuple(_mean(each.rewards) for each in selections),
        improvement=tuple(improvement(chosen[0], reward) for reward in chosen),
        edges=edges,
        counts=counts,
        chosen_counts=chosen_counts,
        frequency=tuple(often[candidate] / len(selections) for candidate in range(candidates)),
    )


def improvement(first: float, reward: float) -> float | None:
    """(reward − first) / |first|; None where that says nothing."""
    if first == 0.0 or not math.isfinite(first) or not math.isfinite(reward):
        return None
    gained = (reward - first) / abs(first)
    return gained if math.isfinite(gained) else None


def _mean(rewards: Sequence[float]) -> float:
    finite = [reward for reward in rewards if math.isfinite(reward)]
    # Scaled first, so that large rewards do not overflow on their way to a mean that fits.
    return math.fsum(reward / len(finite) for reward in finite) if finite else math.nan


def _histogram(
    rewards: Sequence[float], chosen: Sequence[float]
) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
    finite = np.array([reward for reward in rewards if math.isfinite(reward)])
    # A width that overflows has no bins.
    if not len(finite) or not math.isfinite(float(finite.max()) - float(finite.min())):
        return (), (), ()
    edges = np.histogram_bin_edges(finite, bins=_BINS)
    counts, _ = np.histogram(finite, bins=edges)
    taken, _ = np.histogram([reward for reward in chosen if math.isfinite(reward)], bins=edges)
    return tuple(edges.tolist()), tuple(counts.tolist()), tuple(taken.tolist())
