"""`truerun check`: 0 only for an open gate, and a summary that no name can break."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem
from truerun.cli import main

GOLDEN = Path(__file__).parent / "golden"
EVALUATION = "01a1fb4a-4f72-78f4-a789-6ccb0dc219d5"
RUN = "01a1fb4a-0000-78f4-a789-6ccb0dc219d5"
EVIL = "x|y<script>alert(1)</script>\n::error::boom\x1b[2J\u202e`@team`"


def a_check(**members: Any) -> dict[str, Any]:
    return {
        "rule": "regression",
        "metric": "log2_mse",
        "group": "k=4,m=2",
        "outcome": "regressed",
        "required": True,
        "reason": None,
        "notes": ["single_seed"],
        "baseline": 0.103,
        "candidate": 0.405,
        "worsening": 2.932,
        "limit": 0.0103,
        "detail": {},
        **members,
    }


def a_verdict(gate: str = "closed", **members: Any) -> dict[str, Any]:
    return {
        "evaluation": EVALUATION,
        "run_id": RUN,
        "run": "run-6",
        "project": "codes",
        "suite": "heights-val",
        "suite_version": 1,
        "stage": "final",
        "step": 1200,
        "attempt": 1,
        "purpose": "candidate",
        "validity": "valid",
        "validity_reason": None,
        "gate": gate,
        "sentence": f"The gate is {gate}.",
        "baseline": {"evaluation": "b", "run": "run-2", "version": 3},
        "policy_version": 2,
        "assessment": 1,
        "stale": False,
        "checks": [
            a_check(group="k=6,m=3", outcome="improved", candidate=0.168, baseline=1.083, worsening=-0.8449),
            a_check(
                rule="gap",
                metric="loss",
                group=None,
                outcome="failed",
                required=False,
                worsening=None,
                limit=0.02,
            ),
            a_check(),
            a_check(
                rule="limit",
                group="overall",
                outcome="not_evaluated",
                reason="missing_metric",
                candidate=None,
            ),
        ],
        "aggregates": [
            {
                "metric": "log2_mse",
                "name": "worst",
                "value": 0.405,
                "baseline": 0.103,
                "worsening": 2.932,
                "groups_used": 9,
                "groups_total": 9,
                "left_out": {},
                "group": "k=4,m=2",
            },
            {
                "metric": "log2_mse",
                "name": "overall",
                "value": "NaN",
                "groups_used": 8,
                "groups_total": 9,
                "group": None,
            },
        ],
        "created_at": "2026-01-01T00:00:00Z",
        **members,
    }


def ask(service: FakeService, *arguments: str) -> int:
    return main([*arguments, "--url", service.url, "--token", PROJECT_TOKEN])


def offer(
    service: FakeService, *verdicts: dict[str, Any], listed: list[dict[str, Any]] | None = None
) -> None:
    """Make the service know these verdicts, as evaluations of one run."""
    for verdict in verdicts:
        service.routes[f"GET /evaluations/{verdict['evaluation']}"] = verdict
    service.routes["GET /me"] = {"project": "codes"}
    service.routes["GET /projects/codes/runs?key=run-6&limit=2"] = {
        "items": [{"key": "run-6", "run_id": RUN}]
    }
    items = [{**verdict, "is_latest": True} for verdict in verdicts] if listed is None else listed
    for query in ("", "suite=heights-val&stage=final&"):
        service.routes[f"GET /runs/{RUN}/evaluations?{query}limit=200"] = {
            "items": items,
            "next_cursor": None,
        }


@pytest.mark.parametrize(
    ("members", "code"),
    [
        pytest.param({"gate": "open"}, 0, id="open"),
        pytest.param({"gate": "closed"}, 1, id="closed"),
        pytest.param({"gate": "undecided"}, 2, id="undecided"),
        pytest.param({"gate": "open", "stale": True}, 2, id="open against a champion that is gone"),
        pytest.param({"gate": "closed", "stale": True}, 2, id="closed against a champion that is gone"),
        pytest.param({"gate": "ajar"}, 2, id="a gate of a later service"),
        pytest.param({"gate": None}, 2, id="no gate at all"),
        pytest.param({"gate": True}, 2, id="true is not open"),
    ],
)
@pytest.mark.parametrize("thing", [EVALUATION, "run-6"])
@pytest.mark.parametrize("form", [(), ("--json",), ("--md",), ("--all",)])
def test_the_exit_code_is_the_gate(
    service: FakeService, members: dict[str, Any], code: int, thing: str, form: tuple[str, ...]
) -> None:
    offer(service, a_verdict(**members))

    assert ask(service, "check", thing, "--wait", "0", *form) == code


def test_a_stale_verdict_is_waited_for(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    offer(service, a_verdict("closed", stale=True))
    fresh = a_verdict("open", stale=False, assessment=2)

    class Rejudged(dict[str, Any]):
        """Stale when asked for the first time, judged again by the second."""

        asked = 0

        def get(self, key: str, default: Any = None) -> Any:
            if key == f"GET /evaluations/{EVALUATION}":
                self.asked += 1
                return fresh if self.asked > 1 else super().get(key)
            return super().get(key, default)

    service.routes = Rejudged(service.routes)

    assert ask(service, "check", EVALUATION) == 0
    assert "stale" not in capsys.readouterr().out


def test_a_run_with_several_suites_is_open_only_when_all_are(service: FakeService) -> None:
    other = a_verdict("closed", evaluation=EVALUATION.replace("d5", "d6"), suite="other")
    offer(service, a_verdict("open"), other)
    assert ask(service, "check", "run-6") == 1

    offer(service, a_verdict("open"), {**other, "gate": "undecided"})
    assert ask(service, "check", "run-6") == 2

    offer(service, a_verdict("open"), {**other, "gate": "open"})
    assert ask(service, "check", "run-6") == 0


def test_the_latest_candidate_counts_and_progress_never(service: FakeService) -> None:
    older = a_verdict("closed", evaluation=EVALUATION.replace("d5", "d4"), step=1)
    progress = a_verdict("closed", evaluation=EVALUATION.replace("d5", "d7"), purpose="progress", step=9999)
    newest = a_verdict("open")
    listed = [{**older, "is_latest": False}, {**newest, "is_latest": True}, {**progress, "is_latest": False}]
    offer(service, older, newest, progress, listed=listed)

    assert ask(service, "check", "run-6", "--suite", "heights-val", "--stage", "final") == 0


def test_the_latest_valid_evaluation_counts_as_on_the_leaderboard(service: FakeService) -> None:
    invalid = a_verdict("closed", evaluation=EVALUATION.replace("d5", "d9"), step=9000, validity="invalid")
    valid = a_verdict("open")
    offer(service, invalid, valid, listed=[{**invalid, "is_latest": False}, {**valid, "is_latest": True}])

    assert ask(service, "check", "run-6") == 0


def test_progress_alone_is_nothing_judged(service: FakeService) -> None:
    progress = a_verdict("open", purpose="progress")
    offer(service, progress, listed=[{**progress, "is_latest": False}])

    assert ask(service, "check", "run-6") == 2


def test_when_every_evaluation_is_invalid_the_newest_speaks(service: FakeService) -> None:
    older = a_verdict("open", evaluation=EVALUATION.replace("d5", "d4"), attempt=1, step=9000)
    newest = a_verdict("closed", attempt=2, step=None, validity="invalid")
    offer(service, older, newest, listed=[{**newest, "is_latest": False}, {**older, "is_latest": False}])

    assert ask(service, "check", "run-6") == 1


def test_a_run_without_an_evaluation_is_not_open(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(service, listed=[])

    assert ask(service, "check", "run-6") == 2
    assert "nothing was judged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(problem(401, "expired"), 3, id="401"),
        pytest.param(problem(403, "not yours"), 3, id="403"),
        pytest.param(problem(429, "slow down"), 3, id="429"),
        pytest.param(problem(500, "oops"), 3, id="500"),
        pytest.param(Fault(status=302, headers={"location": "/login"}), 3, id="redirect"),
        pytest.param(Fault(status=200, body="<html>"), 3, id="login page"),
        pytest.param(Fault(status=200, body="[1]"), 3, id="a list"),
        pytest.param(Fault(status=404, body="<html>"), 3, id="404 of a proxy"),
        pytest.param(problem(404, "nothing there"), 64, id="404"),
        pytest.param(problem(422, "no uuid"), 64, id="422"),
        pytest.param(problem(409, "conflict"), 3, id="409"),
    ],
)
def test_a_service_that_cannot_be_asked_never_reads_as_a_gate(
    service: FakeService, fault: Fault, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(service)
    service.routes[f"GET /evaluations/{EVALUATION}"] = fault
    service.routes[f"GET /runs/{EVALUATION}"] = fault
    service.routes[f"GET /projects/codes/runs?key={EVALUATION}&limit=2"] = {"items": []}

    assert ask(service, "check", EVALUATION) == code
    assert capsys.readouterr().err.startswith("truerun: ")


def test_a_dead_service_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", EVALUATION, "--url", "http://127.0.0.1:1"]) == 3
    assert "cannot reach http://127.0.0.1:1" in capsys.readouterr().err


def test_without_an_address_the_way_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", EVALUATION]) == 3
    assert "TRUERUN_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["chek", "x"],
        ["check", "x", "--colour"],
        ["check", "x", "--wait", "soon"],
        ["runs", "--limit", "0"],
    ],
)
def test_a_usage_error_is_64_and_never_a_gate(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert "usage: truerun" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "undecided" in capsys.readouterr().out


def test_a_crash_is_70_and_never_a_gate(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    offer(service, a_verdict("open"))

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("no paper")

    real, sys.stdout = sys.stdout, Broken()
    try:
        code = ask(service, "check", EVALUATION)
    finally:
        sys.stdout = real

    assert code == 70
    assert "crashed: RuntimeError: no paper" in capsys.readouterr().err


def test_the_whole_verdict_is_there_for_machines(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(service, a_verdict("closed"))

    ask(service, "check", EVALUATION, "--json")

    assert json.loads(capsys.readouterr().out) == a_verdict("closed")


def golden(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("TRUERUN_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def hostile_verdict() -> dict[str, Any]:
    return a_verdict(
        sentence=f"{EVIL} is worse",
        run=EVIL,
        suite="heights-val",
        validity="suspect",
        validity_reason=EVIL,
        stale=True,
        purpose="progress",
        checks=[a_check(metric=EVIL, group=EVIL, reason=EVIL, notes=[EVIL])],
        aggregates=[
            {"metric": EVIL, "name": "worst", "value": 1, "group": EVIL, "groups_used": 1, "groups_total": 1}
        ],
    )


@pytest.mark.parametrize("form", ["md", "txt", "all.txt"])
@pytest.mark.parametrize("name", ["closed", "hostile"])
def test_what_people_read_is_as_agreed(
    service: FakeService, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    offer(service, hostile_verdict() if name == "hostile" else a_verdict("closed"))
    options = {"md": ["--md"], "txt": [], "all.txt": ["--all"]}[form]

    ask(service, "check", EVALUATION, "--wait", "0", *options)

    golden(f"check-{name}.{form}", capsys.readouterr().out)


@pytest.mark.parametrize("options", [["--md"], [], ["--all"], ["--json"]])
def test_no_name_reaches_the_terminal_or_the_build_as_a_command(
    service: FakeService, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    offer(service, hostile_verdict())

    ask(service, "check", EVALUATION, "--wait", "0", *options)

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not any(line.strip().startswith("::") for line in out.splitlines())
    if options != ["--json"]:
        assert "\u202e" not in out
    if options == ["--md"]:
        assert not re.search("::error::|@team|<script>|(?<!\\\\)`@", out)


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
