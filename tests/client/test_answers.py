"""What each answer of the service means."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun.answers import (
    EVALUATION,
    HANDSHAKE,
    Answer,
    Fate,
    backoff_seconds,
    fate,
    retry_after_seconds,
)

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)  # noqa: UP017 - the client knows Python 3.10 too


def an_answer(status: int | None, document: dict[str, Any] | None = None) -> Answer:
    return Answer(status=status, document=document)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(an_answer(201, {"gate": "open"}), Fate.ACCEPTED, id="new"),
        pytest.param(an_answer(200, {"gate": "closed"}), Fate.ACCEPTED, id="known"),
        pytest.param(an_answer(200), Fate.RETRY, id="a login page"),
        pytest.param(an_answer(200, {"hello": "world"}), Fate.RETRY, id="somebody else's JSON"),
        pytest.param(an_answer(302), Fate.RETRY, id="redirect"),
        pytest.param(an_answer(None), Fate.RETRY, id="no answer"),
        *(
            pytest.param(an_answer(status, {}), Fate.REJECTED, id=str(status))
            for status in (400, 404, 409, 413, 422)
        ),
        pytest.param(an_answer(404), Fate.RETRY, id="404 of a proxy"),
        pytest.param(an_answer(422), Fate.RETRY, id="422 without JSON"),
        pytest.param(an_answer(413), Fate.REJECTED, id="413 of a proxy"),
        *(pytest.param(an_answer(status), Fate.PARKED, id=str(status)) for status in (401, 403)),
        pytest.param(an_answer(410, {}), Fate.PARKED, id="410"),
        *(
            pytest.param(an_answer(status), Fate.RETRY, id=str(status))
            for status in (408, 425, 429, 500, 502, 503, 599)
        ),
        *(pytest.param(an_answer(status, {}), Fate.RETRY, id=f"{status} JSON") for status in (429, 500)),
    ],
)
def test_an_evaluation_is_done_refused_or_tried_again(answer: Answer, expected: Fate) -> None:
    assert fate(answer, EVALUATION) is expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_a_refused_handshake_parks_and_loses_nothing(status: int) -> None:
    assert fate(an_answer(status, {}), HANDSHAKE) is Fate.PARKED


@given(st.one_of(st.none(), st.integers(100, 599)), st.booleans())
def test_only_a_success_that_carries_the_verdict_is_accepted(status: int | None, is_json: bool) -> None:
    answer = an_answer(status, {"gate": "open"} if is_json else None)

    accepted = fate(answer, EVALUATION) is Fate.ACCEPTED

    assert accepted == (is_json and status is not None and 200 <= status < 300)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("3", 3.0, id="seconds"),
        pytest.param(" 2.5 ", 2.5, id="a fraction"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("-5", None, id="negative"),
        pytest.param("86400", 600.0, id="a day is clamped"),
        pytest.param("1e400", 600.0, id="infinity is clamped"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("soon", None, id="a word"),
        pytest.param("", None, id="empty"),
        pytest.param("Thu, 01 Jan 2026 12:00:30 GMT", 30.0, id="a date"),
        pytest.param("Thu, 01 Jan 2026 11:00:00 GMT", None, id="a date in the past"),
        pytest.param("Fri, 01 Jan 2100 00:00:00 GMT", 600.0, id="a far date"),
        pytest.param("Thu, 99 Jan 2026 12:00:30 GMT", None, id="no date"),
    ],
)
def test_retry_after_is_read_kindly_and_clamped(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_header_raises_or_leaves_the_bounds(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)

    assert seconds is None or 0 <= seconds <= 600


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_back_off_stays_within_a_minute(failures: int, jitter: float) -> None:
    assert 0.05 <= backoff_seconds(failures, jitter) <= 60.0


def test_the_back_off_grows_and_waits_at_least_as_long_as_asked() -> None:
    grown = [backoff_seconds(failures, 0.999999) for failures in range(1, 8)]

    assert grown == sorted(grown)
    assert grown[0] == pytest.approx(2.0, abs=0.01)
    assert grown[-1] == pytest.approx(60.0, abs=0.01)
    assert backoff_seconds(1, 0.5, 120.0) == 120.0
