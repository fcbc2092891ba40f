from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from truerun.importing import SourceError
from truerun.importing.csv_files import Columns, CsvFile
from truerun.importing.past import PastRun, Row


def runs(tmp_path: Path, text: str, **columns: Any) -> list[PastRun]:
    file = tmp_path / "burgers.csv"
    file.write_text(text, encoding="utf-8")
    return list(CsvFile(file, Columns(**columns)).runs())


def rows(run: PastRun) -> list[Any]:
    return list(run.rows(run.tally))


def test_each_column_of_a_wide_file_is_a_metric(tmp_path: Path) -> None:
    text = (
        "\ufeffstep,when,loss,val/nrmse\r\n0,1700000000.5,1e-3,\r\n10,2023-11-14T22:13:21Z,inf,-Infinity\r\n"
    )

    (run,) = runs(tmp_path, text, time="when")

    assert rows(run) == [
        Row(0, 1700000000.5, {"loss": 0.001}),
        Row(10, 1700000001.0, {"loss": math.inf, "val/nrmse": -math.inf}),
    ]
    assert (run.name, run.tally.left_out) == ("burgers", {})


def test_points_that_were_logged_at_once_are_one_row_again(tmp_path: Path) -> None:
    text = "run,it,name,number,t\na,0,loss,3,1\na,0,gap,4,1\nb,0,loss,9,1\na,1,loss,2,2\na,1,loss,1,2\n"

    first, second = runs(tmp_path, text, run="run", step="it", metric="name", value="number", time="t")

    assert (first.name, second.name) == ("a", "b")
    assert rows(first) == [
        Row(0, 1.0, {"loss": 3.0, "gap": 4.0}),
        Row(1, 2.0, {"loss": 2.0}),
        # The same metric twice is two rows, or one of them would be lost.
        Row(1, 2.0, {"loss": 1.0}),
    ]
    assert rows(second) == [Row(0, 1.0, {"loss": 9.0})]


def test_what_cannot_be_read_is_named_by_its_line(tmp_path: Path) -> None:
    text = 'step,t,loss,gap\n0,1,warm,1\n1.5,1,2,3\n\n2,soon,2,3\n3,1,1_000,"4\n"\n4,1\n'

    (run,) = runs(tmp_path, text, time="t")
    file = CsvFile(tmp_path / "burgers.csv", Columns(time="t"))
    list(file.runs())

    assert rows(run) == [Row(0, 1.0, {"gap": 1.0}), Row(3, 1.0, {"gap": 4.0})]
    assert run.tally.left_out == {"not_a_number": 2, "bad_step": 2, "bad_time": 2}
    assert run.tally.problems == [
        "line 2, column loss: 'warm' is no number",
        "line 3, column step: '1.5' is no whole number",
        "line 5, column t: 'soon' is no time",
        "line 7, column loss: '1_000' is no number",
    ]
    assert file.tally.problems == ["line 8 has 2 cells under 4 columns"]


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        ("", {}, "is empty"),
        ("run_id,metric:loss\na,1\n", {}, "--step-column"),
        ("step,loss\n0,1\n", {"step": "epoch"}, "no step column 'epoch'"),
        ("step,loss,loss\n0,1,2\n", {}, "'loss' twice"),
        ("step,loss\n", {}, "holds no line"),
        ("step,metric\n0,loss\n", {"metric": "metric"}, "both --metric-column and --value-column"),
        ('step,loss\n0,"1\n', {}, "is not CSV"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, text: str, columns: dict[str, str], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        runs(tmp_path, text, **columns)


def test_a_step_beyond_what_a_double_holds_is_exact(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, f"step,loss\n{2**53 + 1},1\n-3.0,2\n")

    assert [row.step for row in rows(run)] == [2**53 + 1, -3]


def test_another_file_of_the_same_name_is_another_run_and_a_grown_one_the_same(tmp_path: Path) -> None:
    keys = [
        runs(tmp_path, text)[0].key
        for text in ("step,loss\n0,1\n", "step,loss\n0,1\n1,2\n", "step,loss\n0,2\n")
    ]

    assert keys[0] == keys[1] != keys[2]
