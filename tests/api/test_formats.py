"""Hostile names in every format: shown, never obeyed."""

from __future__ import annotations

import csv
import io

import pytest

from app.api.formats.csv_text import to_csv, unguarded
from app.api.formats.html_page import to_html
from app.api.formats.markdown import to_markdown
from app.api.formats.table import Table

NAMES = {
    "a script": "<script>alert(1)</script>",
    "an image": "<img src=x onerror=alert(1)>",
    "a formula": "=cmd|' /C calc'!A0",
    "another formula": "@SUM(1+1)",
    "a minus": "-2+3",
    "a pipe": "a|b",
    "a workflow command": "::error::all good",
    "right to left": "abc\u202edef",
    "a line break": "a\nb",
    "a zero-width space": "a\u200bb",
    "a link": "[click](javascript:alert(1))",
    "a mention": "@everyone `x` *y*",
}


def a_table(name: str) -> Table:
    return Table(title=name, columns=("run", "value"), rows=[(name, 0.5)], numeric=frozenset({1}))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_spreadsheet_does_not_run_a_csv_cell_and_the_name_survives(name: str) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(a_table(name)), newline="")))

    assert not rows[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unguarded(rows[1][0]) == name


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_markdown_keeps_a_row_in_one_line_and_one_cell(name: str) -> None:
    text = to_markdown(a_table(name))
    row = text.splitlines()[-1]

    assert len(text.splitlines()) == 5
    assert row.replace("\\|", "").count("|") == 3
    assert "<" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert "\u202e" not in text


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_html_shows_a_name_as_text(name: str) -> None:
    page = to_html(a_table(name))

    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "http" not in page


def test_numbers_keep_their_precision_in_csv_and_absent_is_empty() -> None:
    table = Table(
        title="t",
        columns=("a", "b", "c"),
        rows=[(0.1 + 0.2, None, float("-inf"))],
        numeric=frozenset({0, 1, 2}),
    )

    assert to_csv(table).splitlines()[1] == "0.30000000000000004,,-Infinity"
