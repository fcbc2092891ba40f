"""One process of several: silent, or with a stream of its own."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem, until
from truerun.answers import Answer
from truerun.peers import Peers
from truerun.ranks import process_age
from truerun.record import RunRecord
from truerun.runs import Run


def a_rank(monkeypatch: pytest.MonkeyPatch, service: FakeService, rank: int, **more: Any) -> Run:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "4")
    return truerun.init("burgers", url=service.url, token=PROJECT_TOKEN, **more)


def batches(service: FakeService) -> list[dict[str, Any]]:
    return [request.body for request in service.requests if request.path.endswith("/records")]


def test_only_rank_0_records_unless_all_are_asked_to(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(4):
        run = a_rank(monkeypatch, service, rank, run_key="run")
        run.log({"loss": rank})
        run.finish()
        assert run.is_muted is (rank != 0)

    assert len(service.streams) == 1


def test_every_rank_has_a_stream_of_its_own_in_one_run(
    service: FakeService, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_rank(monkeypatch, service, rank, run_key="run", ranks="all") for rank in range(4)]
    for rank, run in enumerate(runs):
        run.log({"loss": rank})
    for run in runs:
        run.finish()

    said = {(body["rank"], body["role"]) for body in batches(service)}
    assert said == {(0, "train"), (1, "attach"), (2, "attach"), (3, "attach")}
    assert sorted(stream.values("loss")[0][1] for stream in service.streams.values()) == [0, 1, 2, 3]
    assert service.statuses == ["finished"]
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("rank", [0, 3])
def test_ranks_that_cannot_know_one_key_are_told_so_all_of_them(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    with pytest.raises(TypeError, match="run_key, or resume='auto'"):
        a_rank(monkeypatch, service, rank, ranks="all", resume="auto")
    with pytest.raises(ValueError, match="ranks can be 'all'"):
        a_rank(monkeypatch, service, rank, ranks="some", run_key="run")


def test_the_schedulers_key_is_one_that_all_ranks_know(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job-7")
    runs = [a_rank(monkeypatch, service, rank, ranks="all", resume="auto") for rank in range(2)]

    assert runs[0].key == runs[1].key
    for run in runs:
        run.finish()


def test_a_job_of_one_process_may_ask_for_all_ranks(service: FakeService) -> None:
    run = truerun.init("burgers", url=service.url, token=PROJECT_TOKEN, ranks="all")
    run.log({"loss": 1.0})
    run.finish()

    assert [body["role"] for body in batches(service)] == ["train"]


def test_a_rank_that_comes_before_rank_0_waits_without_a_word_and_loses_nothing(
    service: FakeService, impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    service.always["run"] = problem(404, "no run 'run' to attach to; open it with role train first")
    run = a_rank(monkeypatch, service, 1, run_key="run", ranks="all")
    run.log({"loss": 1.0})
    until(lambda: service.count("run") >= 4)
    service.always.clear()
    run.log({"loss": 2.0})
    run.finish(timeout=20)

    (stream,) = service.streams.values()
    assert [value for _, value in stream.values("loss")] == [1.0, 2.0]
    assert caplog.messages == []


def attempts(*ages: float) -> Fault:
    """What the service lists, each attempt begun so many seconds before the hour at which every answer is given."""
    began = [
        f"2025-12-31T{23 - int(age // 3600):02}:{59 - int(age % 3600 // 60):02}:59+00:00" for age in ages
    ]
    items = [
        {"attempt": i + 1, "attempt_id": f"00000000-0000-4000-8000-00000000000{i + 1}", "started_at": at}
        for i, at in enumerate(began)
    ]
    return Fault(body=json.dumps({"items": items}), headers={"content-type": "application/json"})


def test_a_rank_of_a_job_that_was_started_again_waits_for_the_attempt_of_its_own_start(
    service: FakeService, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Older than any test session.
    service.routes["GET /runs/id-of-run/attempts"] = attempts(20 * 3600.0)
    run = a_rank(monkeypatch, service, 1, run_key="run", ranks="all")
    run.log({"loss": 1.0})
    until(lambda: service.count("run") >= 3)
    assert not service.streams

    service.routes["GET /runs/id-of-run/attempts"] = attempts(20 * 3600.0, 0.0)
    run.finish(timeout=20)

    assert {body["attempt_id"] for body in batches(service)} == {"00000000-0000-4000-8000-000000000002"}


def test_a_rank_that_was_started_again_at_once_goes_by_what_its_launcher_counts(
    service: FakeService, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    service.routes["GET /runs/id-of-run/attempts"] = attempts(0.0)
    run = a_rank(monkeypatch, service, 1, run_key="run", ranks="all")
    run.log({"loss": 1.0})
    until(lambda: service.count("run") >= 3)
    assert not service.streams

    service.routes["GET /runs/id-of-run/attempts"] = attempts(0.0, 0.0)
    run.finish(timeout=20)

    assert {body["attempt_id"] for body in batches(service)} == {"00000000-0000-4000-8000-000000000002"}


def test_a_rank_that_was_given_an_attempt_waits_for_that_one(
    service: FakeService, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "00000000-0000-4000-8000-000000000002"
    service.routes["GET /runs/id-of-run/attempts"] = attempts(0.0)
    run = a_rank(monkeypatch, service, 1, run_key="run", ranks="all", attempt_id=wanted)
    run.log({"loss": 1.0})
    until(lambda: service.count("run") >= 3)
    assert not service.streams

    service.routes["GET /runs/id-of-run/attempts"] = attempts(0.0, 0.0)
    run.finish(timeout=20)

    assert {body["attempt_id"] for body in batches(service)} == {wanted}


class Lists:
    """A service that lists one attempt of long ago."""

    def send(self, method: str, path: str, *, seconds: float) -> Answer:
        item = {"attempt": 1, "attempt_id": "old", "started_at": "2020-01-01T00:00:00Z"}
        return Answer(status=200, document={"items": [item]})


def test_an_attempt_that_began_too_early_is_taken_when_no_other_comes() -> None:
    record = RunRecord(
        project="p", run_key="k", attempt_id="mine", role="attach", url=None, mode="online", is_peer=True
    )
    seconds = [0.0]
    peers = Peers(record, clock=lambda: seconds[0])
    opened = Answer(status=200, document={"run_id": "r", "server_time": "2026-01-01T00:00:00Z"})

    troubles = []
    for at in (0.0, 119.0, 121.0):
        seconds[0] = at
        troubles.append(peers.trouble(Lists(), opened, seconds=1.0))

    assert [trouble is None for trouble in troubles] == [False, False, True]
    # The service puts it into whichever attempt is the newest then.
    assert record.stream_facts["attempt_id"] is None


def test_a_processs_age_is_that_of_the_process() -> None:
    expected = time.time() - psutil.Process(os.getpid()).create_time()

    assert abs(process_age() - expected) < 2.0
