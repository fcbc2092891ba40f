"""`truerun compare` on paper: what differs, what is absent, and columns that fit."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.client.fake_service import PROJECT_TOKEN, FakeService, problem
from tests.client.verdict_answers import EVIL
from truerun.cli import main
from truerun.cli.compare import ABSENT
from truerun.cli.output import Output
from truerun.cli.text import width

PATH = "GET /projects/codes/compare"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ask(service: FakeService, *arguments: str) -> int:
    return main(["compare", *arguments, "--url", service.url, "--token", PROJECT_TOKEN, "--project", "codes"])


def a_run(key: str, **members: Any) -> dict[str, Any]:
    return {
        "run": key,
        "name": key,
        "status": "finished",
        "validity": "valid",
        "validity_reason": None,
        "seed": None,
        "git_commit": None,
        "git_dirty": None,
        **members,
    }


def a_cell(value: Any, **members: Any) -> dict[str, Any]:
    return {
        "value": value,
        "bound": "exact",
        "change": None,
        "reason": None,
        "differing": [],
        "mark": None,
        **members,
    }


def a_row(metric: str, group: str, **cells: Any) -> dict[str, Any]:
    return {"metric": metric, "group": group, "cells": cells}


def an_answer(**members: Any) -> dict[str, Any]:
    nothing = {"different": [], "equal": 0, "same": None}
    return {
        "runs": [a_run("a"), a_run("b")],
        "config": nothing,
        "seeds": [],
        "environment": nothing,
        "suites": [],
        "not_shared": [],
        **members,
    }


def a_suite(rows: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    gates = {"a": {"gate": "open", "validity": "valid", "champion": True}}
    return {
        "suite": "val",
        "stage": "final",
        "base": "a",
        "base_because": "champion",
        "evaluations": gates,
        "rows": rows,
        **members,
    }


def said(service: FakeService, capsys: pytest.CaptureFixture[str], answer: dict[str, Any]) -> list[str]:
    service.routes[f"{PATH}?runs=a%2Cb"] = answer
    assert ask(service, "a", "b") == 0
    return capsys.readouterr().out.splitlines()


def test_absent_null_zero_and_text_that_looks_like_them_are_told_apart(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [None, 0, False, "null", "0", "", "adam", ABSENT, [1, "x"]]
    different = [{"key": f"k{i}", "values": {"a": value}, "absent": ["b"]} for i, value in enumerate(values)]

    lines = said(service, capsys, an_answer(config={"different": different, "equal": 3, "same": None}))

    assert "configuration differs; the same in 3 keys (--all lists them)" in lines
    shown = [line.removesuffix(ABSENT).split(maxsplit=1)[1].strip() for line in lines if line.startswith("k")]
    assert shown == ["null", "0", "false", '"null"', '"0"', '""', "adam", f'"{ABSENT}"', '[1, "x"]']


def test_numbers_say_in_words_what_is_best_what_is_worst_and_what_is_not_comparable(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = a_cell(1, reason="incomparable", differing=["dataset", "split"])
    rows = [
        a_row("mse", "easy", a=a_cell(0.1, mark="best"), b=a_cell(0.2, change=1.0, mark="worst")),
        a_row("mse", "hard", a=a_cell("NaN"), b=a_cell(3.0, bound="at_least")),
        a_row("mae", "easy", b=elsewhere),
        a_row("mae", "hard", a=a_cell(0.0), b=a_cell(1, reason="zero_baseline")),
    ]

    lines = said(service, capsys, an_answer(suites=[a_suite(rows)]))

    assert lines[-8:] == [
        "val, stage final: change against a, the champion",
        "",
        "METRIC  GROUP  a               b",
        "        gate   open, champion  no evaluation",
        "mse     easy   0.1 [best]      0.2 100.0 % worse [worst]",
        "        hard   nan             ≥ 3",
        "mae     easy   -               1 not comparable (dataset, split)",
        "        hard   0               1 the base is zero",
    ]


def test_no_name_commands_a_terminal_or_a_build(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"key": EVIL, "values": {"a": EVIL}, "absent": ["b"]}
    rows = [{"metric": EVIL, "group": EVIL, "cells": {"a": a_cell(1.0)}}]
    answer = an_answer(
        runs=[a_run("a", name=EVIL, validity="invalid", validity_reason=EVIL), a_run("b")],
        config={"different": [entry], "equal": 0, "same": [entry]},
        suites=[a_suite(rows, suite=EVIL, base=EVIL)],
        not_shared=[{"suite": EVIL, "stage": EVIL, "run": "a"}],
    )

    lines = said(service, capsys, answer)

    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.lstrip().startswith("::") for line in lines)


@pytest.mark.parametrize("columns", [40, 50, 200])
def test_columns_that_do_not_fit_a_terminal_go_below_with_the_names_repeated(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    paper = Terminal()
    keys = [f"run-{i}" for i in range(6)]

    Output(as_json=False, stdout=paper, stderr=io.StringIO()).beside(
        ("KEY",), keys, [("lr", *(f"value {i}" for i in range(6))), ("depth", *("" for _ in keys))]
    )

    lines = paper.getvalue().splitlines()
    heads = [line.split() for line in lines if line.startswith("KEY")]
    assert all(width(line) <= columns for line in lines)
    assert [key for head in heads for key in head[1:]] == keys
    assert (len(heads) == 1) == (columns == 200)
    assert sum(line.startswith("lr") for line in lines) == len(heads)


def test_a_column_wider_than_the_terminal_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    paper = Terminal()

    Output(as_json=False, stdout=paper, stderr=io.StringIO()).beside(
        ("KEY",), ["a", "b"], [("k", "x" * 90, "y" * 90)]
    )

    assert ("x" * 59 + "…" in paper.getvalue()) == ("y" * 59 + "…" in paper.getvalue()) is True


def test_what_is_asked_for_is_passed_on(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    query = "runs=a%2Cb&suite=val&stage=early&metric=mse&base=b&all=true"
    service.routes[f"{PATH}?{query}"] = an_answer(project="codes")

    options = ["--suite", "val", "--stage", "early", "--metric", "mse", "--base", "b", "--all"]

    assert ask(service, "a", "b", *options, "--json") == 0
    assert '"project": "codes"' in capsys.readouterr().out
    assert ask(service, "a", "b", *options, "--format", "json") == 0


@pytest.mark.parametrize(("status", "code"), [(422, 64), (404, 64), (500, 3)])
def test_a_refusal_is_a_usage_error_and_a_broken_service_is_not(
    service: FakeService, status: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service.routes[f"{PATH}?runs=a%2Cb"] = problem(status, "no run 'b'")

    assert ask(service, "a", "b") == code
    assert "no run 'b'" in capsys.readouterr().err
