"""The client and a service that asks it to go slowly."""

from __future__ import annotations

import time
from pathlib import Path

import truerun
from tests.api.processes import served


def test_a_client_that_is_told_to_wait_waits_and_loses_nothing(database_url: str, spool: Path) -> None:
    posts = 8
    with served(database_url, rate_limit_per_second=4, rate_limit_burst=2) as service:
        run = truerun.init("codes", run_key="hasty", url=service.url, token=service.token)
        for number in range(posts):
            run.log_evaluation("s", {"mse": 0.1 + number / 100}, step=number)
        deadline = time.monotonic() + 60
        while list(spool.glob("*/evaluations/*.json")):
            assert time.monotonic() < deadline, "it never was sent"
            time.sleep(0.05)
        run.finish()
        log = service.log.read_text()

    assert log.count("status=201") + log.count("status=200") >= posts
    assert "refused=rate" in log
    assert not list(spool.rglob("rejected/*"))
