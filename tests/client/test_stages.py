from __future__ import annotations

from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from truerun.runs import Run


def a_run(service: FakeService, **more: Any) -> Run:
    return truerun.init("burgers", run_key="run", url=service.url, token=PROJECT_TOKEN, **more)


def sent(service: FakeService) -> list[dict[str, Any]]:
    """Blocks and other records in the order in which they travelled."""
    bodies = [request.body for request in service.requests if request.path.endswith("/records")]
    return [each for body in bodies for each in (*body["blocks"], *body["other"])]


def test_what_is_logged_in_a_stage_carries_its_name_and_its_ends_are_told(service: FakeService) -> None:
    run = a_run(service)
    with run.stage("operator", loss="loss/total"):
        run.log({"loss/total": 1.0}, step=0)
        run.log({"lr": 1.0}, step=0, stage="warmup")
        with run.stage("inner"):
            run.log_groups({"easy": {"mse": 1.0}}, step=1)
        run.log({"loss/total": 0.5}, step=2)
    run.log({"loss/total": 0.4}, step=3)
    run.finish()

    blocks = [each for each in sent(service) if "metrics" in each or "groups" in each]
    stages = [(block.get("stage", ""), block["steps"]) for block in blocks]
    named = {stage for stage, _ in stages}
    assert named == {"operator", "warmup", "inner", ""}
    events = [each for each in sent(service) if each.get("type") == "event"]
    assert [(event["kind"], event["detail"]["stage"]) for event in events] == [
        ("stage_began", "operator"),
        ("stage_began", "inner"),
        ("stage_ended", "inner"),
        ("stage_ended", "operator"),
    ]
    assert events[-1]["detail"]["loss"] == "loss/total"
    assert events[-1]["detail"]["failed"] is False
    assert events[-1]["detail"]["seconds"] >= events[-2]["detail"]["seconds"] >= 0


def test_an_exception_passes_through_a_stage_and_marks_it(service: FakeService) -> None:
    run = a_run(service)
    with pytest.raises(ZeroDivisionError), run.stage("operator"):
        raise ZeroDivisionError
    run.log({"a": 1.0})
    run.finish()

    events = [each for each in sent(service) if each.get("type") == "event"]
    assert events[-1]["detail"]["failed"] is True
    assert [each.get("stage", "") for each in sent(service) if "metrics" in each] == [""]


def test_a_stage_without_a_usable_name_is_no_reason_to_stop(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    run = a_run(service)
    with run.stage(""):
        run.log({"a": 1.0})
    run.finish()

    assert "a stage has a name" in caplog.text
    assert [each.get("type") for each in sent(service) if "type" in each] == ["finish"]


def test_choices_of_test_time_compute_travel_whole(service: FakeService) -> None:
    run = a_run(service)
    run.log_ttc(3, [0.1, float("nan"), float("-inf")], 0)
    run.log_ttc(step=4, rewards=(1, 2), chosen=1)
    run.finish()

    found = [each for each in sent(service) if each.get("type") == "ttc"]
    assert [(each["step"], each["rewards"], each["chosen"]) for each in found] == [
        (3, [0.1, "NaN", "-Infinity"], 0),
        (4, [1.0, 2.0], 1),
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ((0, [1.0], 1), "names none of 1 candidates"),
        ((0, [1.0], -1), "names none of 1 candidates"),
        ((0, [], 0), "names none of 0 candidates"),
        ((0, ["high"], 0), "a number is needed"),
        ((None, [1.0], 0), "needs a step"),
        ((0, [1.0] * 4097, 0), "4096 at most"),
    ],
)
def test_a_choice_that_cannot_be_is_dropped_and_says_why(
    service: FakeService, caplog: pytest.LogCaptureFixture, call: tuple[Any, ...], said: str
) -> None:
    run = a_run(service)
    run.log_ttc(*call)
    run.finish()

    assert said in caplog.text
    assert not [each for each in sent(service) if each.get("type") == "ttc"]
