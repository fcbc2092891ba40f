from __future__ import annotations

import math

import pytest

from app.domain.ttc import Selection, charts, improvement

NAN, INF = math.nan, math.inf


def selection(step: int, rewards: list[float], chosen: int) -> Selection:
    return Selection(step=step, rewards=tuple(rewards), chosen=chosen)


def test_the_chosen_reward_stands_beside_the_mean_of_its_step() -> None:
    drawn = charts([selection(0, [1.0, 2.0, 3.0], 2), selection(5, [4.0, 0.0], 0)])

    assert (drawn.steps, drawn.chosen, drawn.mean) == ((0, 5), (3.0, 4.0), (2.0, 2.0))
    assert drawn.improvement == pytest.approx((0.0, 1 / 3))
    assert drawn.frequency == (0.5, 0.0, 0.5)


def test_the_histogram_counts_every_finite_reward_and_the_chosen_among_them() -> None:
    drawn = charts(
        [selection(0, [0.0, 1.0, NAN, INF], 1), selection(1, [1.0, 0.5], 0), selection(2, [NAN], 0)]
    )

    assert sum(drawn.counts) == 4
    assert (drawn.counts[0], drawn.counts[-1]) == (1, 2)
    assert (sum(drawn.chosen_counts), drawn.chosen_counts[-1]) == (2, 2)
    assert len(drawn.edges) == len(drawn.counts) + 1
    assert (drawn.edges[0], drawn.edges[-1]) == (0.0, 1.0)
    assert drawn.mean[0] == 0.5
    assert math.isnan(drawn.mean[2])


@pytest.mark.parametrize(
    ("first", "reward", "gained"),
    [
        (2.0, 3.0, 0.5),
        # Rewards are often negative: less negative is a gain.
        (-2.0, -1.0, 0.5),
        (-2.0, -3.0, -0.5),
        (0.0, 1.0, None),
        (-0.0, 1.0, None),
        (NAN, 1.0, None),
        (1.0, NAN, None),
        (1.0, -INF, None),
        (5e-324, 1e308, None),
    ],
)
def test_improvement_is_relative_to_the_first_and_never_divides_by_nothing(
    first: float, reward: float, gained: float | None
) -> None:
    assert improvement(first, reward) == gained


def test_large_rewards_do_not_overflow_on_their_way_to_a_mean() -> None:
    drawn = charts([selection(0, [1.7e308, 1.7e308], 0), selection(1, [-1.7e308, 1.7e308], 1)])

    assert drawn.mean == (1.7e308, 0.0)
    assert drawn.edges == ()


def test_nothing_is_drawn_of_nothing() -> None:
    drawn = charts([])

    assert (drawn.steps, drawn.improvement, drawn.counts, drawn.frequency) == ((), (), (), ())
