"""The data set: pairs of states one time unit apart, in four groups by viscosity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from examples.burgers.equation import Fields, cell_means, random_waves, solve

# From what diffusion has smoothed away to what has steepened into shocks.
VISCOSITIES = {"nu=0.3": 0.3, "nu=0.1": 0.1, "nu=0.03": 0.03, "nu=0.01": 0.01}
GROUPS = tuple(VISCOSITIES)
TIERS = {"easy": ["nu=0.3"], "medium": ["nu=0.1", "nu=0.03"], "hard": ["nu=0.01"]}

HORIZON = 1.0
CELLS = 64
FINE = 512
STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Pairs of states.

    Args:
        start, end: Shape (B, CELLS), cell means at time 0 and HORIZON.
        group: Shape (B,), int64, counting into GROUPS.
        viscosity: Shape (B,).
    """

    start: Fields
    end: Fields
    group: NDArray[np.int64]
    viscosity: Fields

    def __len__(self) -> int:
        return len(self.group)


def make(*, per_group: int, seed: int) -> Samples:
    """So many pairs of each group, computed on FINE points and kept as CELLS means; the same seed, the same pairs."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(GROUPS)), per_group)
    viscosity = np.array(list(VISCOSITIES.values()))[group]
    start = random_waves(rng, count=len(group), n=FINE)
    end = solve(start, viscosity, time=HORIZON, steps=STEPS)
    return Samples(
        start=cell_means(start, CELLS), end=cell_means(end, CELLS), group=group, viscosity=viscosity
    )
