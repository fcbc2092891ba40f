"""The runs that the rule is measured on: one series for each recipe, its seeds' test errors."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data" / "tabr_runs.csv"
MIN_SEEDS = 12
# Some recipes repeat to the last bits, whatever the seed: there is no noise to know.
NO_SPREAD = 1e-7

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One recipe's test errors (rmse, or 1 − accuracy), one a seed, by seed.

    Args:
        errors: Shape (seeds,), distances to a perfect score.
    """

    model: str
    dataset: str
    variant: str
    errors: Floats

    @property
    def family(self) -> tuple[str, str]:
        """Variants of one model on one dataset resemble each other."""
        return self.model, self.dataset

    @property
    def has_spread(self) -> bool:
        return bool(self.errors.std(ddof=1) > NO_SPREAD * self.errors.mean())


def load(metric: str, path: Path = DATA) -> list[Series]:
    """Every series of at least MIN_SEEDS seeds that differ at all, sorted by name.

    Args:
        metric: `rmse` or `accuracy`.
    """
    found: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["split"], row["metric"]) == ("test", metric):
                value = float(row["value"])
                error = 1.0 - value if metric == "accuracy" else value
                found[row["model"], row["dataset"], row["variant"]][int(row["seed"])] = error
    several = (
        Series(
            model=model,
            dataset=dataset,
            variant=variant,
            errors=np.array([by_seed[seed] for seed in sorted(by_seed)]),
        )
        for (model, dataset, variant), by_seed in sorted(found.items())
        if len(by_seed) >= MIN_SEEDS
    )
    return [series for series in several if series.has_spread]
