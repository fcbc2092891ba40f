from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.liveness import Status, after_silence, is_rivalled

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "seconds", "after"),
    [
        pytest.param(Status.RUNNING, 0, Status.RUNNING, id="just heard of"),
        pytest.param(Status.RUNNING, 89, Status.RUNNING, id="quiet"),
        pytest.param(Status.RUNNING, 90, Status.STALE, id="stale at 90 s"),
        pytest.param(Status.STALE, 899, Status.STALE, id="still only stale"),
        pytest.param(Status.STALE, 900, Status.LOST, id="lost at 15 min"),
        pytest.param(Status.RUNNING, 3600, Status.LOST, id="never seen to be stale"),
        pytest.param(Status.LOST, 0, Status.LOST, id="a clock that went back finds nobody"),
        pytest.param(Status.LOST, 95, Status.LOST, id="lost is not stale again"),
        pytest.param(Status.FINISHED, 10**6, Status.FINISHED, id="what finished stays finished"),
        pytest.param(Status.FAILED, 10**6, Status.FAILED, id="what failed stays failed"),
        pytest.param(Status.PREEMPTED, 10**6, Status.PREEMPTED, id="what was preempted stays so"),
    ],
)
def test_silence_makes_stale_then_lost_and_never_failed(status: Status, seconds: int, after: Status) -> None:
    assert after_silence(status, seconds * SECOND) is after


@pytest.mark.parametrize(("seconds", "two"), [(-5, False), (0, False), (60, False), (61, True)])
def test_two_attempts_train_at_once_when_the_older_still_makes_records(seconds: int, two: bool) -> None:
    assert is_rivalled(spoke_at=NOON + seconds * SECOND, newer_began_at=NOON) is two
