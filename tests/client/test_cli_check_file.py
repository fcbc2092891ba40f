"""`truerun check FILE.json`: numbers from any tool, posted and judged in one go."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService, problem
from tests.client.verdict_answers import ask


def test_a_file_is_posted_and_its_verdict_is_the_code(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.routes["GET /me"] = {"project": "codes"}
    service.gate = "undecided"
    file = tmp_path / "result.json"
    file.write_text(
        '{"values": {"nrmse": NaN}, "groups": {"easy": {"nrmse": 0.1, "n": 1800}}, "step": 12,'
        ' "tiers": {"low": ["easy"]}, "metrics": {"nrmse": "lower"}, "stated": {"n": 1800},'
        ' "config": {"lr": 0.001}, "seed": 7}'
    )

    code = ask(service, "check", str(file), "--suite", "s", "--name", "nightly")

    assert code == 2
    (body,) = service.evaluations.values()
    assert body["suite"] == "s"
    assert body["groups"] == [{"name": "easy", "tier": "low"}]
    assert [value["value"] for value in body["values"]] == ["NaN", 0.1]
    (run,) = service.runs.values()
    assert (run["role"], run["name"], run["seed"], run["config"]) == ("train", "nightly", 7, {"lr": 0.001})
    assert service.statuses == ["finished"]


def test_the_plainest_file_is_names_and_numbers(service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"nrmse": 0.12, "mae": 0.3}')

    assert ask(service, "check", str(file), "--suite", "s", "--project", "codes") == 0

    (body,) = service.evaluations.values()
    assert {(value["metric"], value["group"], value["value"]) for value in body["values"]} == {
        ("nrmse", "overall", 0.12),
        ("mae", "overall", 0.3),
    }


def test_a_file_may_come_through_a_pipe_and_join_a_run(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.routes["GET /projects/codes/runs?key=run-6&limit=2"] = {
        "items": [{"key": "run-6", "run_id": "r"}]
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"suite": "s", "values": {"nrmse": 0.1}}'))

    assert ask(service, "check", "-", "--project", "codes", "--run", "run-6") == 0

    assert service.runs["run-6"]["role"] == "attach"
    assert service.statuses == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "{}",
        '{"nrmse": "good"}',
        '{"values": {}}',
        '{"values": {"a": 1}, "colour": 1}',
        "\udcff",
        '{"groups": 3}',
    ],
)
def test_a_file_that_says_nothing_is_a_wrong_call(service: FakeService, tmp_path: Path, content: str) -> None:
    file = tmp_path / "result.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))

    assert ask(service, "check", str(file), "--suite", "s", "--project", "codes") == 64
    assert service.evaluations == {}


def test_a_file_that_the_service_refuses_is_a_wrong_call(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    file.write_text('{"my_err": 0.12}')
    problems = [{"field": "metrics.my_err", "message": 'add metrics={"my_err": "lower"}'}]
    service.faults["evaluation"].append(problem(422, "unknown metric", problems=problems))

    assert ask(service, "check", str(file), "--suite", "s", "--project", "codes") == 64
    assert capsys.readouterr().err == (
        'truerun: unknown metric (422)\n  - metrics.my_err: add metrics={"my_err": "lower"}\n'
    )
