"""Cells, names and texts in the form in which W&B takes them without a complaint or a silent change."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

Cell: TypeAlias = "str | int | float | bool | None"

MOST_ROWS = 1_000
LONGEST_TITLE = 63
LONGEST_TEXT = 2_000
LONGEST_CELL = 2_000
_LONGEST_ID = 64
# Whole numbers beyond this are not whole numbers any more in a browser.
_LARGEST_WHOLE = 2**53


class Kind(StrEnum):
    """What a column holds; W&B types a column by its first row and refuses the row that differs."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"


def strict(value: object) -> Cell:
    """The value as one that JSON has: NaN and ±∞ as texts, what is neither number nor flag as its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        # A signaling NaN refuses to become a float.
        value = math.nan if value.is_nan() else float(value)
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST_WHOLE else strict(_as_float(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else written(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return printable(str(value), LONGEST_CELL)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def written(value: float) -> str:
    """`NaN`, `Infinity`, `-Infinity` as in our own JSON, else the shortest text that gives the same number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def finite(value: object) -> float | None:
    """The value as a point of a chart; None, a gap, for what is no finite number."""
    cell = strict(value)
    return None if cell is None or isinstance(cell, str | bool) else float(cell)


def printable(text: str, length: int) -> str:
    """The text without NUL and lone surrogates, cut at the end."""
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def column(kind: Kind, values: Iterable[object]) -> tuple[Kind, list[Cell]]:
    """The cells of one column, all of one kind.

    A column with anything that its kind does not cover (a NaN among numbers) becomes text as a whole: W&B refuses a
    mixed one, and an empty cell would hide that something is there.
    """
    cells = [strict(value) for value in values]
    if kind is Kind.NUMBER and all(
        cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool)) for cell in cells
    ):
        return kind, cells
    if kind is Kind.FLAG and all(cell is None or isinstance(cell, bool) for cell in cells):
        return kind, cells
    return Kind.TEXT, [_text(cell) for cell in cells]


def _text(cell: Cell) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return written(cell) if isinstance(cell, float) else str(cell)


def columns_of(kinds: Mapping[str, Kind], rows: Sequence[Sequence[object]]) -> list[tuple[Kind, list[Cell]]]:
    """Every column in order, of at most `MOST_ROWS` rows.

    Raises:
        ValueError: A row is not as wide as there are columns.
    """
    for number, row in enumerate(rows):
        if len(row) != len(kinds):
            raise ValueError(f"row {number} has {len(row)} cells for {len(kinds)} columns")
    kept = rows[:MOST_ROWS]
    return [column(kind, (row[at] for row in kept)) for at, kind in enumerate(kinds.values())]


def run_id(prefix: str, name: str) -> str:
    """`leaderboard-burgers`: an id that W&B takes, the same for the same name and for no other.

    Where the name does not fit into `[A-Za-z0-9_-]{1,64}`, a digest of it makes up for what is lost.
    """
    whole = f"{prefix}-{name}"
    fitting = re.sub(r"[^A-Za-z0-9_-]", "-", whole)
    if fitting == whole and len(whole) <= _LONGEST_ID:
        return whole
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{fitting[: _LONGEST_ID - 13]}-{digest}"


def key_part(name: str) -> str:
    """A metric's name as the last part of a key that can be sorted and filtered by: `log2_mse`, `loss_pde`."""
    part = re.sub(r"[^A-Za-z0-9_]", "_", name)[:80]
    return part if re.match(r"[A-Za-z_]", part) else f"_{part}"
