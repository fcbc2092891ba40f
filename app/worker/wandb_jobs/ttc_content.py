"""Test-time compute: several answers are drawn, a reward chooses one of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.ttc import Selection, improvement
from app.worker.wandb_jobs.job import Bars, Histogram, Lines, bars, histogram, lines
from app.worker.wandb_jobs.values import Cell, strict


@dataclass(frozen=True, slots=True, kw_only=True)
class TtcCharts:
    lines: tuple[Lines, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    bars: tuple[Bars, ...] = ()
    scalars: dict[str, Cell]


def ttc_charts(steps: Sequence[Selection]) -> TtcCharts:
    """Chosen beside mean rewards, what was gained over the first, all rewards, and how often which was chosen."""
    if not steps:
        return TtcCharts(scalars={})
    chosen = [step.rewards[step.chosen] for step in steps]
    means = [_mean(step.rewards) for step in steps]
    often = Counter(step.chosen for step in steps)
    widest = max(len(step.rewards) for step in steps)
    return TtcCharts(
        lines=(
            lines(
                "ttc/reward_trajectory",
                "Reward by step",
                "step",
                [step.step for step in steps],
                {"chosen": chosen, "mean": means},
            ),
            lines(
                "ttc/improvement",
                "Improvement over the first reward",
                "step",
                [step.step for step in steps],
                {"improvement": [improvement(chosen[0], reward) for reward in chosen]},
            ),
        ),
        histograms=(
            histogram(
                "ttc/reward_distribution",
                "Rewards of all answers",
                "reward",
                [reward for step in steps for reward in step.rewards],
            ),
        ),
        bars=(
            bars(
                "ttc/selection_frequency",
                "How often an answer was chosen",
                "answer",
                "times",
                [(str(number), often[number]) for number in range(widest)],
            ),
        ),
        scalars={
            "ttc/steps": len(steps),
            "ttc/mean_chosen_reward": strict(_mean(chosen)),
            "ttc/mean_reward": strict(_mean(means)),
        },
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
