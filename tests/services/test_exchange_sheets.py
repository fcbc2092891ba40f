"""Reading the CSV files that teams keep."""

from __future__ import annotations

import math

import pytest

from app.domain.evaluations import Bound
from app.errors import InvalidInput
from app.services.exchange import read_sheet

HEADER = "run_id,label,timestamp,notes,tags,metric:nrmse,metric:nrmse_change_pct,metric:gap,comment\n"


def test_a_row_becomes_a_run_with_its_numbers_and_a_percent_column_is_left_out() -> None:
    sheet = read_sheet(HEADER + 'r1,U-net,2026-01-02,"good, so far",a;b,0.12,-3.1,4.5,x\n')

    line = sheet.lines[0]
    assert (line.run_key, line.label, line.notes, line.tags) == ("r1", "U-net", "good, so far", ("a", "b"))
    assert [(value.metric, value.value) for value in line.values] == [("nrmse", 0.12), ("gap", 4.5)]
    assert sheet.skipped_columns == ("metric:nrmse_change_pct", "comment")


def test_an_empty_cell_is_no_value_a_bound_stays_one_and_nan_is_kept() -> None:
    sheet = read_sheet("run_id,metric:a,metric:b,metric:c\nr1,>10,,NaN\n")

    first, second = sheet.lines[0].values
    assert (first.metric, first.value, first.bound) == ("a", 10.0, Bound.AT_LEAST)
    assert second.metric == "c"
    assert math.isnan(second.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        pytest.param("", "run_id", id="empty"),
        pytest.param("label,metric:a\nx,1\n", "run_id", id="no run_id"),
        pytest.param("run_id,loss\nr1,1\n", "metric:", id="no metric column"),
        pytest.param("run_id,metric:a,metric:a\nr1,1,2\n", "metric:a", id="a column twice"),
        pytest.param("run_id,metric:a\nr1,abc\n", "line 2, metric:a", id="no number"),
        pytest.param("run_id,metric:a\nr1,1e400\n", "line 2, metric:a", id="beyond a double"),
        pytest.param("run_id,metric:a\nr1,1\nr1,2\n", "line 3, run_id", id="a run twice"),
        pytest.param("run_id,metric:a\nr1,1,2\n", "line 2", id="too many cells"),
        pytest.param("run_id,metric:a\nr1,\n", "line 2", id="no value at all"),
        pytest.param('run_id,metric:a\n"r1,1\n', "body", id="a quote that never ends"),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_column(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_sheet(text)

    assert caught.value.problems[0].field == field
