"""Too long, too many, too often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.api.rates import Buckets, Rates, address_of
from tests.api.calling import Caller, an_admin


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def buckets(clock: Clock, **more: Any) -> Buckets:
    return Buckets(**{"per_second": 2.0, "burst": 3, "clock": clock, **more})


def statuses(ask: Callable[[], httpx.Response], times: int) -> list[int]:
    return [ask().status_code for _ in range(times)]


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    clock = Clock()
    tokens = buckets(clock)

    at_once = [tokens.take("a").wait_seconds for _ in range(5)]
    clock.now = 0.25
    too_early = tokens.take("a").wait_seconds
    clock.now = 0.5
    in_time = tokens.take("a").wait_seconds
    clock.now = 1000.0
    rested = [tokens.take("a").left for _ in range(3)]

    assert at_once == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert (too_early, in_time) == (0.25, 0.0)
    assert rested == [2, 1, 0]


def test_one_that_is_refused_pays_nothing_and_one_key_does_not_pay_for_another() -> None:
    clock = Clock()
    tokens = buckets(clock)
    for _ in range(100):
        tokens.take("a")

    other = tokens.take("b").wait_seconds
    clock.now = 0.5
    after = tokens.take("a").wait_seconds

    assert (other, after) == (0.0, 0.0)


def test_only_so_many_buckets_are_remembered_and_the_ones_in_use_stay() -> None:
    tokens = buckets(Clock(), most=10)
    tokens.take("busy")
    for number in range(1000):
        tokens.take(f"other {number}")
        if number % 5 == 0:
            last = tokens.take("busy")

    assert len(tokens) == 10
    assert last.wait_seconds > 0


@pytest.mark.parametrize(
    ("client", "one"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("testclient", 1), "testclient"),
        (None, "unknown"),
    ],
)
def test_an_address_is_what_one_caller_has(client: tuple[str, int] | None, one: str) -> None:
    assert address_of(client) == one


def test_a_token_that_asks_too_often_is_told_when_to_go_on(database_url: str) -> None:
    with an_admin(database_url, rate_limit_per_second=0.01, rate_limit_burst=3) as admin:
        served = [admin.send("GET", "/me") for _ in range(3)]
        refused = admin.send("GET", "/me")
        health = [admin.send("GET", path).status_code for path in ("/healthz", "/readyz", "/metrics")]
        metrics = admin.send("GET", "/metrics").text

    assert [each.status_code for each in served] == [200] * 3
    assert [each.headers["ratelimit"] for each in served] == [f'"token";r={left};t=0' for left in (2, 1, 0)]
    assert served[0].headers["ratelimit-policy"] == '"token";q=3;w=300'
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit"].startswith('"token";r=0;t=')
    assert "0.01 times a second" in refused.json()["detail"]
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert health == [200] * 3
    assert 'truerun_http_refused_total{cause="rate"} 1.0' in metrics


def test_tokens_do_not_pay_for_each_other(database_url: str) -> None:
    with an_admin(database_url, rate_limit_per_second=0.01, rate_limit_burst=3) as admin:
        viewer = admin.as_role("admin", None)

        first = statuses(lambda: admin.send("GET", "/me"), 3)
        second = statuses(lambda: viewer.send("GET", "/me"), 4)

    assert first == [200, 200, 429]
    assert second == [200, 200, 200, 429]


def test_the_same_token_written_otherwise_is_the_same_token(database_url: str) -> None:
    with an_admin(database_url, rate_limit_per_second=0.01, rate_limit_burst=2) as admin:
        nobody = admin.with_token(None)
        ways = [f"Bearer {admin.token}", f"bearer {admin.token}", f"BEARER {admin.token}"]

        answers = [nobody.send("GET", "/me", headers={"Authorization": way}).status_code for way in ways]

    assert answers == [200, 200, 429]


def test_without_a_limit_nothing_is_counted_and_nothing_said(database_url: str) -> None:
    with an_admin(database_url, rate_limit_per_second=0, rate_limit_burst=1) as admin:
        answers = [admin.send("GET", "/me") for _ in range(5)]
        limits = admin.put("/projects/heights/runs/run-1", {"attempt_id": str(uuid4())})["limits"]

    assert [each.status_code for each in answers] == [200] * 5
    assert "ratelimit" not in answers[0].headers
    assert (limits["requests_per_second"], limits["requests_at_once"]) == (None, None)


def test_the_handshake_tells_the_limits(database_url: str) -> None:
    with an_admin(database_url, rate_limit_per_second=50, rate_limit_burst=70) as admin:
        limits = admin.put("/projects/heights/runs/run-1", {"attempt_id": str(uuid4())})["limits"]

    assert limits == {
        "body_bytes": 8 * 2**20,
        "values_per_evaluation": limits["values_per_evaluation"],
        "requests_per_second": 50.0,
        "requests_at_once": 70,
    }


def test_whoever_tries_tokens_is_stopped_and_good_ones_behind_the_same_address_are_not(
    database_url: str,
) -> None:
    with an_admin(database_url, rejected_tokens_per_minute=3) as admin:
        admin.get("/me")

        tried = [admin.with_token(f"trn_aaaaaaaa_{number}").send("GET", "/me") for number in range(5)]
        without = admin.with_token(None).send("GET", "/me")
        good = admin.send("GET", "/me")
        metrics = admin.send("GET", "/metrics").text

    assert [each.status_code for each in tried] == [401, 401, 401, 429, 429]
    assert 1 <= int(tried[-1].headers["retry-after"]) <= 20
    assert without.status_code == 429
    assert good.status_code == 200
    assert 'truerun_http_refused_total{cause="rejected_tokens"} 3.0' in metrics


def test_a_token_that_is_revoked_counts_as_one_that_opens_nothing(database_url: str) -> None:
    with an_admin(database_url, rejected_tokens_per_minute=2) as admin:
        made = admin.post("/tokens", {"project": None, "role": "admin", "label": "short-lived"})
        short_lived = admin.with_token(made["token"])
        before = short_lived.send("GET", "/me").status_code
        admin.send("DELETE", f"/tokens/{made['id']}")

        after = statuses(lambda: short_lived.send("GET", "/me"), 3)

    assert (before, after) == (200, [401, 401, 429])


def test_good_tokens_are_remembered_by_digest_and_only_so_many() -> None:
    rates = Rates(per_second=1, burst=1, rejected_per_minute=1)

    for number in range(30_000):
        rates.note_good(number.to_bytes(32))

    assert not rates.is_good((0).to_bytes(32))
    assert rates.is_good((29_999).to_bytes(32))
    assert len(rates._good) == 20_000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/projects?cursor=" + "x" * 20_000, 414, id="a long query"),
        pytest.param("/projects/" + "x" * 20_000, 414, id="a long path"),
        pytest.param("/projects?" + "a=1&" * 300, 422, id="many parameters"),
        pytest.param("/projects?" + "a=1&" * 100, 200, id="some parameters"),
    ],
)
def test_an_address_has_bounds(admin: Caller, path: str, status: int) -> None:
    response = admin.send("GET", path)

    assert response.status_code == status, response.text
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]
