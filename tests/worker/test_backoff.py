from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.worker.backoff import MAX_TRIES, delay_before_retry, is_given_up


@pytest.mark.parametrize(
    ("tries", "jitter", "seconds"),
    [
        pytest.param(1, 0.0, 1.0, id="first"),
        pytest.param(2, 0.0, 2.0, id="second"),
        pytest.param(5, 0.0, 16.0, id="fifth"),
        pytest.param(10, 0.0, 512.0, id="tenth"),
        pytest.param(11, 0.0, 600.0, id="longest"),
        pytest.param(10_000, 0.0, 600.0, id="no-overflow"),
        pytest.param(1, 0.5, 0.75, id="half-the-jitter"),
        pytest.param(3, 1.0, 2.0, id="most-jitter-halves"),
    ],
)
def test_the_wait_doubles_up_to_ten_minutes_less_up_to_half(
    tries: int, jitter: float, seconds: float
) -> None:
    assert delay_before_retry(tries, jitter=jitter).total_seconds() == pytest.approx(seconds)


@given(st.integers(1, 10**6), st.floats(0.0, 1.0, exclude_max=True))
def test_the_wait_is_never_nothing_and_never_beyond_ten_minutes(tries: int, jitter: float) -> None:
    assert 0.5 <= delay_before_retry(tries, jitter=jitter).total_seconds() <= 600.0


@pytest.mark.parametrize(("tries", "given_up"), [(0, False), (1, False), (9, False), (10, True), (11, True)])
def test_a_message_is_given_up_after_ten_tries(tries: int, given_up: bool) -> None:
    assert MAX_TRIES == 10
    assert is_given_up(tries) is given_up
