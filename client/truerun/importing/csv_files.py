"""Histories in CSV files: a column for each metric, or a line for each point."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from truerun.importing.past import PastRun, Row, SourceError, Tally

STEP_COLUMNS = ("step", "_step", "global_step", "iteration", "epoch")
_WORDS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns are called.

    Args:
        step: None takes the first of STEP_COLUMNS that is there.
        time: Of the moment, in seconds since 1970 or as ISO 8601; None where the file has none.
        run: Of the run that a line belongs to; None where the file is one run.
        metric, value: Both, where a line is one point; neither, where each further column is a metric.
    """

    step: str | None = None
    time: str | None = None
    run: str | None = None
    metric: str | None = None
    value: str | None = None


class CsvFile:
    """A file of one or several runs.

    Args:
        called: What its runs are named after; the file's name without its ending where not given. Under the same name a
            file that begins with the same lines is the same source, wherever it lies.
    """

    def __init__(self, path: Path, columns: Columns, *, called: str | None = None) -> None:
        if (columns.metric is None) != (columns.value is None):
            raise SourceError("a file of points needs both --metric-column and --value-column")
        self.name = str(path)
        self.tally = Tally()
        self._path = path
        self._called = called or path.stem
        self._given = columns

    def close(self) -> None:
        """Files are open only while they are read."""

    def runs(self) -> Iterator[PastRun]:
        modified, columns, header, runs = self._sighted()
        if not runs:
            raise SourceError(f"{self._path} holds no line with a number under the header {','.join(header)}")
        for run, (digest, lines) in runs.items():
            yield PastRun(
                identity=("csv", self._called, *([run] if columns.run else []), digest),
                label=("csv", self._called, *([run] if columns.run else [])),
                stamp=str(lines),
                name=run if columns.run else self._called,
                rows=self._reader(run, columns, modified),
                ended_at=None if columns.time else modified,
                about={
                    "columns": {"step": columns.step, "time": columns.time},
                    # The service wants a time for each point, and the file has none.
                    **({} if columns.time else {"times": "of the file, not of the points"}),
                },
            )

    def _sighted(self) -> tuple[float, Columns, list[str], dict[str, tuple[str, int]]]:
        """(when the file was changed, its columns, its header, digest of the first line and number of lines by run)."""
        runs: dict[str, tuple[str, int]] = {}
        with self._opened() as file:
            modified = self._path.stat().st_mtime
            reader = _numbered(file)
            header = _header(reader, self._path)
            columns = _checked(self._given, header)
            at = header.index(columns.run) if columns.run else None
            for _, cells in _lines(reader, len(header), self.tally):
                run = "" if at is None else cells[at].strip()
                known = runs.get(run)
                if known is None:
                    text = "\x1f".join([*header, "\x1e", *cells])
                    known = (hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(), 0)
                runs[run] = (known[0], known[1] + 1)
        return modified, columns, header, runs

    def _reader(self, run: str, columns: Columns, modified: float) -> Callable[[Tally], Iterator[Row]]:
        def rows(tally: Tally) -> Iterator[Row]:
            with self._opened() as file:
                reader = _numbered(file)
                header = _header(reader, self._path)
                # Lines that do not fit the header were counted when the file was looked through.
                lines = _lines(reader, len(header), Tally())
                at = header.index(columns.run) if columns.run else None
                mine = ((n, cells) for n, cells in lines if at is None or cells[at].strip() == run)
                read = _Cells(header, columns, modified, tally)
                yield from _together(read.row(number, cells) for number, cells in mine)

        return rows

    def _opened(self) -> IO[str]:
        try:
            return self._path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror}") from None


class _Cells:
    """Reads one line's cells; what cannot be read is named by its line."""

    def __init__(self, header: Sequence[str], columns: Columns, modified: float, tally: Tally) -> None:
        self._header = header
        self._columns = columns
        self._time = modified
        self._tally = tally
        special = {columns.step, columns.time, columns.run, columns.metric, columns.value}
        self._metrics = [(i, name) for i, name in enumerate(header) if name and name not in special]
        self._at = {name: i for i, name in enumerate(header)}

    def row(self, number: int, cells: Sequence[str]) -> Row | None:
        values = self._values(number, cells)
        if not values:
            return None
        step = _step(self._cell(cells, self._columns.step))
        if step is None:
            self._leave("bad_step", number, self._columns.step, cells, len(values))
            return None
        if self._columns.time is None:
            return Row(step, self._time, values)
        time = _time(self._cell(cells, self._columns.time))
        if time is None:
            self._leave("bad_time", number, self._columns.time, cells, len(values))
            return None
        return Row(step, time, values)

    def _values(self, number: int, cells: Sequence[str]) -> dict[str, float]:
        if self._columns.metric is not None:
            name, text = self._cell(cells, self._columns.metric), self._cell(cells, self._columns.value)
            named = [(self._columns.value or "", name, text)]
        else:
            named = [(name, name, cells[i].strip()) for i, name in self._metrics]
        values = {}
        for column, name, text in named:
            if not text:
                continue
            value = _number(text)
            if value is None:
                self._leave("not_a_number", number, column, cells, 1)
                continue
            values[name] = value
        return values

    def _cell(self, cells: Sequence[str], column: str | None) -> str:
        return cells[self._at[column or ""]].strip()

    def _leave(self, reason: str, number: int, column: str | None, cells: Sequence[str], count: int) -> None:
        text = self._cell(cells, column)
        wanted = {"bad_step": "whole number", "bad_time": "time"}.get(reason, "number")
        problem = f"line {number}, column {column}: {text[:40]!r} is no {wanted}"
        self._tally.leave(reason, count, problem=problem)


def _together(rows: Iterable[Row | None]) -> Iterator[Row]:
    """Points that follow each other with the same step and time, as the one row that they were logged as."""
    held: Row | None = None
    for row in rows:
        if row is None:
            continue
        if held is None:
            held = row
        elif (held.step, held.time) == (row.step, row.time) and held.values.keys().isdisjoint(row.values):
            held = Row(held.step, held.time, {**held.values, **row.values})
        else:
            yield held
            held = row
    if held is not None:
        yield held


def _numbered(file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines with their numbers.

    Raises:
        SourceError: A line is not CSV, or not text.
    """
    reader = csv.reader(file, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(f"line {reader.line_num + 1} is not CSV: {error}") from None
        yield reader.line_num, cells


def _header(reader: Iterator[tuple[int, list[str]]], path: Path) -> list[str]:
    for _, cells in reader:
        header = [cell.strip() for cell in cells]
        twice = [name for name in header if name and header.count(name) > 1]
        if twice:
            raise SourceError(f"{path} has the column {twice[0]!r} twice")
        return header
    raise SourceError(f"{path} is empty")


def _checked(given: Columns, header: Sequence[str]) -> Columns:
    step = given.step or next((name for name in STEP_COLUMNS if name in header), None)
    for name, option in ((step, "step"), (given.time, "time"), (given.run, "run")):
        if name is not None and name not in header:
            raise SourceError(f"there is no {option} column {name!r}; the header is {','.join(header)}")
    for name in (given.metric, given.value):
        if name is not None and name not in header:
            raise SourceError(f"there is no column {name!r}; the header is {','.join(header)}")
    if step is None:
        raise SourceError(
            f"name the column of steps with --step-column; the header is {','.join(header)}. "
            "A file with one line a run is a leaderboard: --suite KEY brings that"
        )
    return Columns(step=step, time=given.time, run=given.run, metric=given.metric, value=given.value)


def _lines(
    reader: Iterator[tuple[int, list[str]]], width: int, tally: Tally
) -> Iterator[tuple[int, list[str]]]:
    for number, cells in reader:
        if not any(cells):
            continue
        if len(cells) != width:
            problem = f"line {number} has {len(cells)} cells under {width} columns"
            tally.leave("bad_line", problem=problem)
            continue
        yield number, cells


def _number(text: str) -> float | None:
    word = text.lower().removeprefix("+")
    if word in _WORDS:
        return _WORDS[word]
    try:
        # Python reads 1_000 as a number, which no CSV means.
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _step(text: str) -> int | None:
    if text.isascii() and text.removeprefix("-").isdecimal():
        # Exactly, beyond what a double holds, too.
        return int(text)
    number = _number(text)
    return int(number) if number is not None and number.is_integer() else None


def _time(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number if math.isfinite(number) else None
    try:
        # What Python 3.10 does not read of ISO 8601 is the Z.
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
