"""`truerun sync`: what lies in the spool reaches the service, whoever left it there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, problem
from truerun.cli import main
from truerun.spool import Spool


def recorded_offline(key: str = "unet-64", *, values: int = 2, **options: Any) -> list[str]:
    run = truerun.init("burgers", run_key=key, config={"lr": 1e-3}, mode="offline", **options)
    verdicts = [run.log_evaluation("s", {"nrmse": 0.1 * (i + 1)}) for i in range(values)]
    run.finish()
    return [str(verdict.evaluation) for verdict in verdicts]


def synced(service: FakeService, *arguments: str) -> int:
    return main(["sync", "--url", service.url, "--token", PROJECT_TOKEN, *arguments])


def test_everything_recorded_offline_arrives_in_order_and_the_directory_goes(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = recorded_offline()

    code = synced(service)

    assert code == 0
    assert list(service.evaluations) == sent
    assert service.runs["unet-64"]["config"] == {"lr": 1e-3}
    assert "hostname" in service.runs["unet-64"]["environment"]
    assert service.statuses == ["finished"]
    assert list(spool.iterdir()) == []
    assert capsys.readouterr().out == "run unet-64 of project burgers: 2 sent\n"


def test_one_directory_can_be_sent_alone(service: FakeService, spool: Path) -> None:
    recorded_offline("a")
    (directory,) = spool.iterdir()
    recorded_offline("b")

    assert synced(service, str(directory)) == 0

    assert list(service.runs) == ["a"]
    assert len(list(spool.iterdir())) == 1


def test_sending_twice_is_sending_once(service: FakeService, spool: Path) -> None:
    recorded_offline()
    copy = {path: path.read_bytes() for path in spool.rglob("*") if path.is_file()}
    synced(service)
    for path, content in copy.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    assert synced(service) == 0

    assert len(service.evaluations) == 2
    attempts = {request.body["attempt_id"] for request in service.requests if "/projects/" in request.path}
    assert len(attempts) == 1


def test_a_refusal_is_set_aside_told_and_makes_the_code(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_offline()
    service.faults["evaluation"].append(problem(422, "no such metric"))

    code = synced(service)

    assert code == 1
    out = capsys.readouterr().out
    assert "1 sent, 1 refused" in out
    assert "no such metric (422)" in out
    assert len(list(spool.glob("*/rejected/*.json"))) == 2
    assert synced(service) == 0


def test_a_dead_service_leaves_everything_where_it_was(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_offline()

    code = main(["sync", "--url", "http://127.0.0.1:1"])

    assert code == 3
    assert "2 waiting (waiting: cannot reach" in capsys.readouterr().out
    assert len(list(spool.glob("*/evaluations/*.json"))) == 2
    assert synced(service) == 0


def test_a_run_that_went_on_since_is_attached_to(service: FakeService) -> None:
    recorded_offline()
    service.faults["run"].append(problem(403, "train on an existing run needs a maintainer"))

    assert synced(service) == 0

    assert service.runs["unet-64"]["role"] == "attach"
    assert len(service.evaluations) == 2
    assert service.patched == []


def test_what_a_living_process_writes_is_left_to_it(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = truerun.init("burgers", mode="offline")
    run.log_evaluation("s", {"nrmse": 0.1})

    assert synced(service) == 0

    assert "in use" in capsys.readouterr().out
    assert service.requests == []
    assert len(list(spool.glob("*/evaluations/*.json"))) == 1


def test_what_was_meant_for_another_address_needs_to_be_told(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_offline(url="http://127.0.0.1:9")
    monkeypatch.setenv("TRUERUN_URL", service.url)

    assert main(["sync"]) == 3
    assert "--url says where" in capsys.readouterr().out
    assert service.requests == []
    assert synced(service) == 0


def test_a_damaged_directory_does_not_stop_the_others(
    service: FakeService, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded_offline("a")
    (first,) = spool.iterdir()
    recorded_offline("b")
    (first / "run.json").write_text("{")

    code = synced(service, "--json")

    assert code == 1
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["state"] for item in items] == ["damaged", "sent"]
    assert list(service.runs) == ["b"]


def test_a_directory_that_is_none_of_ours_is_a_wrong_call(service: FakeService, tmp_path: Path) -> None:
    assert synced(service, str(tmp_path)) == 64
    assert synced(service, str(tmp_path / "nowhere")) == 64


def test_an_empty_spool_is_no_error(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert synced(service) == 0
    assert "nothing waits" in capsys.readouterr().err


def test_only_what_this_client_writes_is_taken_from_a_run_file(service: FakeService, spool: Path) -> None:
    recorded_offline()
    (directory,) = spool.iterdir()
    document = Spool(directory).read_run()
    document["details"]["run_token"] = "trn_evil"
    document["details"]["role"] = "admin"
    (directory / "run.json").write_text(json.dumps(document))

    synced(service)

    assert service.runs["unet-64"]["role"] == "train"
    assert "run_token" not in service.runs["unet-64"]
