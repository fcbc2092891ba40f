"""When to try again."""

from __future__ import annotations

from datetime import timedelta

MAX_TRIES = 10
_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 600.0


def delay_before_retry(tries: int, *, jitter: float) -> timedelta:
    """How long to wait after the `tries`-th try in a row has failed: 1 s, 2 s, 4 s, … up to 10 min, less up to half.

    Args:
        tries: From 1.
        jitter: Uniform in [0, 1); spreads out what failed together.
    """
    # Beyond 2^10 s the limit holds anyway, and a large power would overflow.
    seconds = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(tries - 1, 10))
    return timedelta(seconds=seconds * (1.0 - jitter / 2.0))


def is_given_up(tries: int) -> bool:
    """Whether a message that has failed so many times is buried."""
    return tries >= MAX_TRIES
