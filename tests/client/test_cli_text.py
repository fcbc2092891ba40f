"""Foreign names can neither command a terminal nor a CI system, nor mark up a summary."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun.cli.text import change, code, markdown, markdown_table, number, safe_line, table, visible, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain übung 数据", "plain übung 数据", id="plain"),
        pytest.param("\x1b[2J\x07", "\\x1b[2J\\x07", id="escape"),
        pytest.param("a\nb\r\tc", "a\\x0ab\\x0d\\x09c", id="lines"),
        pytest.param("\u202egnp.exe", "\\u202egnp.exe", id="bidirectional"),
        pytest.param("a\u200bb\ufeff", "a\\u200bb\\ufeff", id="zero width"),
        pytest.param("\u2028", "\\u2028", id="line separator"),
        pytest.param("\ud800", "\\ud800", id="half a surrogate"),
        pytest.param("\x9b31m", "\\x9b31m", id="8-bit escape"),
        pytest.param("\U000e0041", "\\U000e0041", id="tag"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_visible_text_holds_nothing_that_hides(text: str) -> None:
    shown = visible(text)

    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", shown)
    shown.encode()


@given(st.text())
def test_no_line_begins_a_workflow_command(text: str) -> None:
    line = safe_line(visible(text))

    assert not line.lstrip().startswith("::")
    assert not re.search(r"##\w*\[", line)


@pytest.mark.parametrize(
    ("line", "safe"),
    [
        ("::error::boom", ": :error::boom"),
        ("   ::set-output name=x::1", "   : :set-output name=x::1"),
        ("##[error]boom", "# #[error]boom"),
        ("a ##vso[task.complete]", "a # #vso[task.complete]"),
        ("std::vector stays", "std::vector stays"),
    ],
)
def test_workflow_commands_lose_their_power(line: str, safe: str) -> None:
    assert safe_line(line) == safe


HOSTILE = "a|b <script>alert(1)</script> ::error::x `c` *d* [e](http://f) @team ##[g] #1 \\|"


def test_hostile_text_is_plain_text_in_markdown() -> None:
    text = markdown(HOSTILE)

    assert "<" not in text
    assert "::" not in text
    assert "@team" not in text
    assert "http://" not in text
    assert code(HOSTILE) == text
    for mark in "|`*[]#":
        assert re.search(rf"(?<!\\)(\\\\)*{re.escape(mark)}", text.replace("\\" + mark, "")) is None


@given(st.text())
def test_only_plain_names_become_code(name: str) -> None:
    span = code(name)

    if span.startswith("`"):
        assert span == f"`{name}`"
        assert not re.search(r"[`|<>@\\]|::|##", name)
    else:
        assert span == markdown(name)


@pytest.mark.parametrize("name", ["log2_mse", "k=4,m=2", "loss/pde", "worst (easy)", "0.3 s"])
def test_the_names_of_the_field_are_plain(name: str) -> None:
    assert code(name) == f"`{name}`"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("数据", 4), ("e\u0301", 1), ("", 0), ("ｗ", 2), ("é", 1)]
)
def test_width_is_what_a_terminal_shows(text: str, columns: int) -> None:
    assert width(text) == columns


def test_columns_are_straight_whatever_the_letters() -> None:
    lines = table(("NAME", "N"), [("数据", "1"), ("abc", "20")], right="lr")

    assert lines == ["NAME   N", "数据   1", "abc   20"]


def test_long_cells_are_cut_for_people_only() -> None:
    rows = [("x" * 100,)]

    assert len(table(("A",), rows)[1]) == 100
    assert table(("A",), rows, cut=True)[1] == "x" * 59 + "…"


def test_a_markdown_table_has_a_cell_a_column() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]], right="lr") == ["| a | b |", "| --- | --: |", "| 1 | 2 |"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.405, "0.405"),
        ("NaN", "nan"),
        ("Infinity", "inf"),
        (None, "-"),
        (1234567.0, "1.23457e+06"),
        (True, "-"),
    ],
)
def test_numbers_are_short_and_absent_is_a_dash(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.932, "293.2 % worse"),
        (-0.053, "5.3 % better"),
        (0.0, "same"),
        (None, "-"),
        ("Infinity", "inf % worse"),
    ],
)
def test_a_change_is_said_in_words(value: object, shown: str) -> None:
    assert change(value) == shown
