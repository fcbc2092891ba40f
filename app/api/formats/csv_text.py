"""CSV that a spreadsheet opens without running it."""

from __future__ import annotations

import csv
import io
import math

from app.api.formats.table import Cell, Table

# A spreadsheet takes a cell that begins so for a formula, whatever the file meant.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(table: Table) -> str:
    """The table with a header line; numbers in full precision, absent as empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(column) for column in table.columns])
    for row in table.rows:
        writer.writerow([_cell(cell) for cell in row])
    return out.getvalue()


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return repr(cell) if math.isfinite(cell) else number_word(cell)
    if isinstance(cell, int):
        return str(cell)
    text = cell.replace("\x00", "\\u0000")
    return f"'{text}" if text.startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """A cell as it was before `to_csv` kept a spreadsheet from running it."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def number_word(number: float) -> str:
    """NaN, Infinity or -Infinity."""
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
