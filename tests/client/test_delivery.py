"""Whatever the service or the network does, an evaluation is delivered once, refused for good, or kept."""

from __future__ import annotations

import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem, until
from truerun.runs import Run
from truerun.verdict import Verdict

pytestmark = pytest.mark.usefixtures("impatient")


def a_run(url: str, **options: Any) -> Run:
    return truerun.init("burgers", url=url, token=PROJECT_TOKEN, run_key="unet-64", **options)


def log(run: Run, *, timeout: float = 10.0) -> Verdict:
    return run.log_evaluation(
        "burgers-val", {"nrmse": 0.12}, {"easy": {"nrmse": 0.1, "n": 1800}}, timeout=timeout
    )


def kept(spool: Path, folder: str = "evaluations") -> list[Path]:
    return sorted(path for path in spool.glob(f"*/{folder}/*.json") if ".answer." not in path.name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_an_evaluation_arrives_with_its_verdict_and_leaves_nothing_behind(
    service: FakeService, spool: Path
) -> None:
    service.gate = "closed"
    run = a_run(service.url)

    verdict = log(run)
    run.finish()

    assert (verdict.gate, verdict.is_open, str(verdict)) == ("closed", False, "The gate is closed.")
    assert list(service.evaluations) == [verdict.evaluation]
    assert service.statuses == ["finished"]
    assert list(spool.iterdir()) == []


def test_the_evaluation_is_on_disk_before_it_is_sent(service: FakeService, spool: Path) -> None:
    service.always["evaluation"] = Fault(hang=True)
    run = a_run(service.url)

    verdict = log(run, timeout=0.2)
    until(lambda: service.count("evaluation") == 1)

    (file,) = kept(spool)
    assert file.stem == verdict.evaluation
    assert json.loads(file.read_text()) == service.requests[-1].body
    assert verdict.gate == "unknown"


def test_the_run_token_posts_evaluations_and_no_token_reaches_the_disk(
    service: FakeService, spool: Path
) -> None:
    service.always["evaluation"] = problem(503, "later")
    run = a_run(service.url)

    log(run, timeout=0.5)

    tokens = {request.path.split("/")[3]: request.headers["authorization"] for request in service.requests}
    assert tokens == {"projects": f"Bearer {PROJECT_TOKEN}", "runs": "Bearer trn_run_unet-64"}
    on_disk = b"".join(path.read_bytes() for path in spool.rglob("*") if path.is_file())
    assert b"trn_" not in on_disk
    assert b"burgers" in on_disk


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=500, body="oops"), id="500"),
        pytest.param(problem(503, "starting"), id="503"),
        pytest.param(Fault(status=503, headers={"retry-after": "0"}), id="503 retry at once"),
        pytest.param(Fault(status=429, headers={"retry-after": "soon"}), id="429 with an odd Retry-After"),
        pytest.param(Fault(status=429, headers={"retry-after": "-1"}), id="429 with a negative Retry-After"),
        pytest.param(Fault(status=408), id="408"),
        pytest.param(Fault(status=302, headers={"location": "http://127.0.0.1:1/login"}), id="redirect"),
        pytest.param(
            Fault(status=200, body="<html>log in</html>", headers={"content-type": "text/html"}),
            id="login page",
        ),
        pytest.param(Fault(status=200, body='{"hello": 1}'), id="somebody else's JSON"),
        pytest.param(Fault(status=404, body="<html>no such page</html>"), id="404 of a proxy"),
        pytest.param(Fault(drop=True), id="connection lost before the work"),
        pytest.param(Fault(drop=True, after=True), id="connection lost after the work"),
    ],
)
@pytest.mark.parametrize("kind", ["run", "evaluation"])
def test_passing_trouble_is_retried_with_the_same_request(
    service: FakeService, kind: str, fault: Fault
) -> None:
    service.faults[kind].extend([fault, fault])
    run = a_run(service.url)

    verdict = log(run)

    assert verdict.gate == "open"
    assert list(service.evaluations) == [verdict.evaluation]
    sent = [request for request in service.requests if "/evaluations/" in request.path]
    assert len({(request.path, json.dumps(request.body)) for request in sent}) == 1
    attempts = {request.body["attempt_id"] for request in service.requests if "/projects/" in request.path}
    assert len(attempts) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refused_evaluation_is_set_aside_with_the_answer_and_told_once(
    service: FakeService, spool: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    service.faults["evaluation"].extend([problem(status, "not like this", field="values.0.metric")] * 2)
    run = a_run(service.url)

    with caplog.at_level(logging.WARNING):
        first, second, third = log(run), log(run), log(run)

    assert (first.gate, second.gate, third.gate) == ("rejected", "rejected", "open")
    assert first.problem is not None
    assert first.problem["detail"] == "not like this"
    assert first.sentence == f"values.0.metric: not like this ({status})"
    assert sum("was refused" in record.getMessage() for record in caplog.records) == 1
    assert kept(spool) == []
    assert [path.stem for path in kept(spool, "rejected")] == [first.evaluation, second.evaluation]
    (answer, _) = sorted(spool.glob("*/rejected/*.answer.json"))
    assert json.loads(answer.read_text())["status"] == status


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", ["run", "evaluation"])
def test_a_refused_credential_parks_and_nobody_waits_for_it(
    service: FakeService, spool: Path, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.always[kind] = problem(status, "who are you")
    if kind == "evaluation":
        service.always["run"] = Fault(status=200, body='{"run_id": "r", "run_token": null}')
    run = a_run(service.url)

    began = time.monotonic()
    first, second = log(run, timeout=30), log(run, timeout=30)
    run.finish()

    assert time.monotonic() - began < 10
    assert {first.gate, second.gate} == {"unknown"}
    assert "who are you" in first.sentence
    assert len(kept(spool)) == 2
    warnings = [record.getMessage() for record in caplog.records]
    assert sum("who are you" in text and "truerun sync" not in text for text in warnings) == 1
    assert sum("truerun sync" in text for text in warnings) == 1


def test_what_a_run_token_may_not_do_is_done_with_the_users_own(service: FakeService) -> None:
    service.faults["evaluation"].append(problem(403, "role run may not do suite.create"))
    run = a_run(service.url)

    verdict = log(run)

    assert verdict.gate == "open"
    sent = [request for request in service.requests if "/evaluations/" in request.path]
    tokens = [request.headers["authorization"] for request in sent]
    assert tokens == ["Bearer trn_run_unet-64", f"Bearer {PROJECT_TOKEN}"]
    assert sent[0].body == sent[1].body


def test_an_evaluation_that_the_token_may_not_post_holds_up_no_other(
    service: FakeService, spool: Path
) -> None:
    service.faults["evaluation"].extend([problem(403, "not this suite")] * 2)
    run = a_run(service.url)

    first, second = log(run), log(run)
    began = time.monotonic()
    run.finish()

    assert (first.gate, second.gate) == ("unknown", "open")
    assert "not this suite" in first.sentence
    assert len(kept(spool)) == 1
    assert time.monotonic() - began < 3


def test_a_run_token_that_ran_out_is_exchanged(service: FakeService) -> None:
    run = a_run(service.url)
    log(run)
    service.faults["evaluation"].append(problem(401, "expired"))

    verdict = log(run)

    assert verdict.gate == "open"
    assert service.count("run") == 2
    assert [request.headers["authorization"] for request in service.requests][-2] == f"Bearer {PROJECT_TOKEN}"


def test_one_evaluation_that_the_service_cannot_digest_holds_up_no_other(
    service: FakeService, spool: Path
) -> None:
    service.poison = "poison"
    run = a_run(service.url)
    run.log_evaluation("poison", {"nrmse": 0.1}, timeout=0.3)

    verdict = log(run)

    assert verdict.gate == "open"
    assert len(kept(spool)) == 1
    service.poison = None
    until(lambda: kept(spool) == [])


def test_a_run_token_that_ran_out_is_exchanged_for_a_changed_configuration_too(service: FakeService) -> None:
    run = a_run(service.url)
    log(run)
    service.faults["run"].append(problem(401, "expired"))
    run.config.lr = 3

    verdict = log(run)

    assert verdict.gate == "open"
    assert service.runs["unet-64"]["config"] == {"lr": 3}


@pytest.mark.parametrize("status", [401, 403, 429])
def test_waiting_costs_no_processor_time(service: FakeService, status: int) -> None:
    fault = problem(status, "not now")
    fault.headers["retry-after"] = "60"
    service.always["evaluation"] = fault
    run = a_run(service.url)
    log(run, timeout=0.3)

    before = time.process_time()
    time.sleep(0.5)

    assert time.process_time() - before < 0.1


def test_a_verdict_that_comes_late_can_be_asked_for_again(service: FakeService) -> None:
    service.faults["evaluation"].extend([Fault(status=503)] * 3)
    run = a_run(service.url)
    meter = run.evaluation("s")
    meter.update("nrmse", [0.1])

    early = meter.submit(timeout=0.0)
    late = meter.submit(timeout=10.0)

    assert (early.gate, late.gate) == ("unknown", "open")
    assert early.evaluation == late.evaluation
    assert len(service.evaluations) == 1


def test_a_service_that_asks_for_patience_gets_it(service: FakeService) -> None:
    service.faults["evaluation"].append(Fault(status=429, headers={"retry-after": "1.5"}))
    run = a_run(service.url)

    began = time.monotonic()
    log(run, timeout=0.3)
    log(run, timeout=0.3)
    asked = service.count("evaluation")
    verdict = log(run)

    assert asked == 1
    assert verdict.gate == "open"
    assert time.monotonic() - began > 1.4


def test_a_dead_server_costs_the_timeout_and_no_more(spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = a_run(f"http://127.0.0.1:{free_port()}")

    began = time.monotonic()
    verdict = log(run, timeout=0.5)
    elapsed = time.monotonic() - began

    assert verdict.gate == "unknown"
    assert "cannot reach" in verdict.sentence
    assert 0.4 < elapsed < 5
    assert len(kept(spool)) == 1
    assert sum("not delivered yet" in record.getMessage() for record in caplog.records) == 1


def test_finish_ends_in_time_when_the_server_hangs_and_names_the_way_out(
    service: FakeService, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.always["evaluation"] = Fault(hang=True)
    run = a_run(service.url)
    log(run, timeout=0.1)

    began = time.monotonic()
    run.finish(timeout=1.0)

    assert time.monotonic() - began < 3
    (directory,) = spool.iterdir()
    assert caplog.records[-1].getMessage() == (
        f"truerun: 1 evaluation of run unet-64 not delivered yet; send with: truerun sync {directory}"
    )


def test_a_changed_configuration_reaches_the_service(service: FakeService) -> None:
    run = a_run(service.url, config={"lr": 1e-3})
    until(lambda: service.count("run") == 1)
    run.config.lr = 1e-4
    run.config.update(width=64)

    log(run)

    assert service.runs["unet-64"]["config"] == {"lr": 1e-4, "width": 64}
    attempts = {request.body["attempt_id"] for request in service.requests if "/projects/" in request.path}
    assert len(attempts) == 1


def test_a_disk_that_takes_nothing_does_not_stop_the_evaluation(
    service: FakeService, spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = a_run(service.url)
    until(lambda: service.count("run") == 1)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    first, second = log(run), log(run)

    assert (first.gate, second.gate) == ("open", "open")
    assert sum("No space" in record.getMessage() for record in caplog.records) == 1


def test_what_neither_disk_nor_memory_takes_is_counted_as_lost(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "state").write_text("a file where the directory should be")
    run = a_run(f"http://127.0.0.1:{free_port()}")

    first = run.log_evaluation(
        "s", {"nrmse": 0.1}, info={f"note {i}": "x" * 9_000 for i in range(600)}, timeout=0
    )
    second = run.log_evaluation(
        "s", {"nrmse": 0.1}, info={f"note {i}": "x" * 9_000 for i in range(600)}, timeout=0
    )

    assert "in memory only" in first.sentence
    assert second.sentence == "nothing was recorded: neither disk nor memory took it"
    assert run.manners.counts["lost"] == 1


def test_an_internal_fault_of_the_sender_does_not_end_it(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = a_run(service.url)
    log(run)
    real, broken = Path.read_bytes, [1, 1]

    def read_bytes(path: Path) -> bytes:
        if broken and path.parent.name == "evaluations":
            broken.pop()
            raise MemoryError
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)

    assert log(run).gate == "open"
    assert sum("internal error" in record.getMessage() for record in caplog.records) == 1
