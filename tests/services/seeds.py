"""Runs of one recipe that differ in their seed."""

from __future__ import annotations

from uuid import UUID

from tests.services.claims import GOOD, posted, row_of
from tests.services.world import World, a_run

OLD, NEW = {"lr": 0.1}, {"lr": 0.2}


def scaled(factor: float) -> dict[str, float]:
    return {group: value * factor for group, value in GOOD.items()}


def a_seed(
    world: World, seed: int | None, config: dict[str, float], factor: float = 1.0, **says: object
) -> UUID:
    """A run of that recipe and seed with one evaluation; returns the evaluation."""
    key = f"lr{config.get('lr')}-seed{seed}"
    run = a_run(world, says.pop("key", key), config={**config, "seed": seed}, seed=seed)
    return posted(world, run.run_id, scaled(factor), **says)


def run_of(world: World, project: UUID, evaluation_id: UUID) -> UUID:
    return row_of(world, project, evaluation_id).run_id
