"""A step costs what pairs of blocks say, so that a machine that slows down meanwhile hides nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bench.speed.training.paired import cost, row


def blocks(*medians: float, stray: float = 0.01) -> list[list[float]]:
    """Steps around each median, some of them far above, as where a machine stalls."""
    rng = np.random.default_rng(3)
    return [
        [median * (1.0 + stray * value) for value in (*rng.uniform(-1.0, 1.0, 400), 50.0, 80.0)]
        for median in medians
    ]


def test_a_cost_is_found_while_the_machine_changes_its_speed() -> None:
    speeds = [8.0, 8.1, 12.0, 16.0, 9.0, 8.0, 7.9, 8.4]

    found = cost(blocks(*(1.02 * speed for speed in speeds)), blocks(*speeds))

    assert found.relative == pytest.approx(0.02, abs=0.001)
    assert found.low <= found.relative <= found.high
    assert found.step_ms == pytest.approx(8.25, rel=0.01)


def test_pairs_that_disagree_give_a_wide_interval() -> None:
    ratios = [0.95, 1.06, 0.97, 1.04, 1.0, 1.01]

    found = cost(blocks(*(10 * ratio for ratio in ratios)), blocks(*[10.0] * len(ratios)))

    assert found.low < -0.02
    assert found.high > 0.02


@pytest.mark.parametrize(("factor", "is_met"), [(1.004, True), (1.006, False)])
def test_half_a_percent_is_the_aim(factor: float, is_met: bool) -> None:
    same = blocks(10.0, 10.0, 10.0, stray=0.0)
    found = cost(blocks(*[10.0 * factor] * 3, stray=0.0), same)

    told = row(found, cost(same, same), pairs=3, steps=1206)

    assert told.is_met is is_met
    assert told.measured.startswith(f"{100 * (factor - 1):+.2f} %")
    assert "+0.00 %" in told.floor
    assert "1,206 steps" in told.floor
