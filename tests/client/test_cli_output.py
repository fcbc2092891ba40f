"""What commands print: pages put together, colours for people only, and nothing lost in a pipe."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from truerun.cli import main
from truerun.cli.output import Output

BOARD = "/projects/codes/suites/s/leaderboard?stage=final"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def an_item(number: int, **members: Any) -> dict[str, Any]:
    return {
        "rank": number,
        "run": f"run-{number}",
        "name": "",
        "value": number / 10,
        "gate": "open",
        "eligible": True,
        **members,
    }


def ask(service: FakeService, *arguments: str) -> int:
    return main([*arguments, "--url", service.url, "--token", PROJECT_TOKEN, "--project", "codes"])


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("no_colour", [True, False])
def test_colour_is_for_terminals_whose_owner_wants_it(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, no_colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    out = Output(as_json=False, stdout=Terminal() if is_terminal else io.StringIO(), stderr=io.StringIO())

    assert ("\x1b" in out.gate("closed")) == (is_terminal and not no_colour)


def test_a_hostile_gate_or_cell_cannot_colour_a_terminal() -> None:
    paper = Terminal()
    out = Output(as_json=False, stdout=paper, stderr=io.StringIO())

    out.table(("A", "B"), [("\x1b[31mred", "::warning::x")])
    out.lines([out.gate("\x1b[31mopen")])

    assert "\x1b[31m" not in paper.getvalue()


def test_json_keeps_its_value_and_holds_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"name": "##[error]boom", "other": "数据 \ud800 ::error::"}

    Output(as_json=True).document(document)

    out = capsys.readouterr().out
    assert "##[" not in out
    assert json.loads(out)["name"] == "##[error]boom"


def test_a_leaderboard_is_read_page_after_page(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    head = {"suite": "s", "stage": "final", "metric": "nrmse", "group": "overall", "direction": "lower"}
    first = [an_item(rank) for rank in range(1, 201)]
    second = [an_item(rank) for rank in range(201, 251)]
    service.routes[f"GET {BOARD}&limit=200"] = {**head, "items": first, "next_cursor": "abc"}
    service.routes[f"GET {BOARD}&limit=50&cursor=abc"] = {**head, "items": second, "next_cursor": "def"}

    assert ask(service, "leaderboard", "s", "--limit", "250", "--json") == 0
    board = json.loads(capsys.readouterr().out)
    assert [item["rank"] for item in board["items"]] == list(range(1, 251))

    assert ask(service, "leaderboard", "s", "--limit", "250") == 0
    assert "--limit 500" in capsys.readouterr().err


def test_a_leaderboard_shows_champion_bounds_and_why_a_row_does_not_count(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [
        an_item(1, champion=True, name="a | b", n=1800, tags=["x"]),
        an_item(2, change=0.25, worst={"group": "easy", "worsening": 2.932}, gate="closed", stale=True),
        an_item(3, bound="at_least", value=10.0),
        an_item(0, rank=None, eligible=False, reason="wrong data", value="NaN"),
    ]
    head = {"suite": "s", "stage": "final", "metric": "nrmse", "group": "overall", "direction": "lower"}
    service.routes[f"GET {BOARD}&limit=50"] = {**head, "items": items, "next_cursor": None}

    ask(service, "leaderboard", "s")

    assert capsys.readouterr().out.splitlines() == [
        "nrmse of overall on s, stage final (lower is better)",
        "",
        "   RANK  RUN    NAME   VALUE        CHANGE  WORST GROUP          GATE                 N  TAGS",
        "*     1  run-1  a | b    0.1             -  -                    open              1800  x",
        "      2  run-2  -        0.2  25.0 % worse  easy: 293.2 % worse  closed (stale)       -  -",
        "      3  run-3  -       ≥ 10             -  -                    open                 -  -",
        "      -  run-0  -        nan             -  -                    open, wrong data     -  -",
    ]


def test_a_list_is_read_page_after_page(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"key": f"run-{i}"} for i in range(203)]
    service.routes["GET /projects/codes/runs?limit=200"] = {"items": rows[:200], "next_cursor": "next"}
    service.routes["GET /projects/codes/runs?cursor=next&limit=3"] = {
        "items": rows[200:],
        "next_cursor": "more",
    }

    assert ask(service, "runs", "--limit", "203", "--json") == 0

    assert json.loads(capsys.readouterr().out)["items"] == rows


def test_a_reader_that_goes_away_is_no_open_gate(service: FakeService, home: Path) -> None:
    service.routes["GET /projects/codes/runs?limit=50"] = {
        "items": [{"key": "r" * 100_000}],
        "next_cursor": None,
    }
    command = [sys.executable, "-m", "truerun", "runs", "--url", service.url, "--project", "codes"]
    environ = {**os.environ, "PYTHONPATH": str(Path(truerun.__file__).parent.parent)}

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()

    assert process.returncode == 70
    assert errors == b""
