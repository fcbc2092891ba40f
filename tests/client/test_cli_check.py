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

from tests.client.fake_service import FakeService, Fault, problem
from tests.client.verdict_answers import EVALUATION, EVIL, a_check, a_verdict, ask, offer
from truerun.cli import main

GOLDEN = Path(__file__).parent / "golden"


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
