"""Leaderboards that teams keep as CSV files: `run_id,label,timestamp,notes,tags,metric:<name>…`, one run a line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from app.db import Session
from app.domain.access import Action, Actor
from app.domain.evaluations import OVERALL, Bound, Loss, Purpose, Stated, Value
from app.errors import Conflict, InvalidInput, Problem
from app.services import evaluations, projects, runs
from app.services.evaluations import PostedEvaluation

METRIC_PREFIX = "metric:"
RUN_COLUMNS = ("run_id", "label", "timestamp", "notes", "tags")
# A percent column is a comparison somebody else made, against a champion nobody knows: recomputed, never imported.
_DERIVED = ("%", "pct", "percent", "change", "delta", "improvement", "rank")
_MAX_LINES = 5_000
_MAX_PROBLEMS = 20
_WORDS = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_BOUNDS = {">": Bound.AT_LEAST, "≥": Bound.AT_LEAST, "<": Bound.AT_MOST, "≤": Bound.AT_MOST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run of the file.

    Args:
        number: The line it begins on, from 1.
        values: The whole's, by metric.
    """

    number: int
    run_key: str
    label: str
    timestamp: str
    notes: str
    tags: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    lines: tuple[Line, ...]
    skipped_columns: tuple[str, ...]


@dataclass(slots=True)
class Imported:
    """How many runs came into being, and how many were there with the same numbers."""

    created: int = 0
    known: int = 0
    skipped_columns: list[str] = field(default_factory=list)


def import_csv(
    session: Session,
    actor: Actor,
    *,
    project_key: str,
    suite_key: str,
    text: str,
    now: datetime,
    new_id: Callable[[], UUID],
) -> Imported:
    """Make a run with one candidate evaluation of each line; all of them or none.

    Ids follow from project, suite and run, so the same file again changes nothing.

    Raises:
        InvalidInput: The file cannot be read; every problem names its line and column.
        Conflict: A run of the file is there with other numbers.
    """
    project = projects.project_for(session, actor, key=project_key, action=Action.IMPORT)
    sheet = read_sheet(text)
    imported = Imported(skipped_columns=list(sheet.skipped_columns))
    # Two imports at once lock the same runs in the same order, or one would wait for the other for ever.
    for line in sorted(sheet.lines, key=lambda line: line.run_key):
        try:
            created = _import_line(session, actor, project.id, project_key, suite_key, line, now, new_id)
        except InvalidInput as error:
            problems = [Problem(field=_where(line, p.field), message=p.message) for p in error.problems]
            raise InvalidInput(f"line {line.number}: {error.message}", problems=problems) from error
        except Conflict as error:
            raise Conflict(f"line {line.number}: {error.message}", reasons=error.reasons) from error
        imported.created += created
        imported.known += not created
    return imported


def _where(line: Line, problem_field: str | None) -> str:
    return f"line {line.number}" + (f", {problem_field}" if problem_field else "")


def _import_line(
    session: Session,
    actor: Actor,
    project_id: UUID,
    project_key: str,
    suite_key: str,
    line: Line,
    now: datetime,
    new_id: Callable[[], UUID],
) -> bool:
    opened = runs.open_run(
        session,
        actor,
        project_key=project_key,
        run_key=line.run_key,
        request=runs.OpenRun(
            attempt_id=uuid5(project_id, f"csv/{line.run_key}"),
            role=runs.OpenRole.TRAIN,
            name=line.label or None,
            tags=line.tags,
            notes=line.notes or None,
            environment={"imported_timestamp": line.timestamp} if line.timestamp else None,
        ),
        now=now,
        new_id=new_id,
    )
    if opened.created:
        # What a file tells of is over.
        runs.edit_run(
            session, actor, run_id=opened.run_id, changes=runs.EditRun(status=runs.Status.FINISHED), now=now
        )
    recorded = evaluations.record_evaluation(
        session,
        actor,
        run_id=opened.run_id,
        evaluation_id=uuid5(project_id, f"csv/{suite_key}/{line.run_key}"),
        posted=_posted(suite_key, line),
        now=now,
        new_id=new_id,
    )
    return recorded.created


def _posted(suite_key: str, line: Line) -> PostedEvaluation:
    return PostedEvaluation(
        suite=suite_key,
        purpose=Purpose.CANDIDATE,
        values=line.values,
        stated=Stated(),
        loss=Loss(),
        info={"imported": "csv"},
    )


def read_sheet(text: str) -> Sheet:
    """Parse the file.

    Raises:
        InvalidInput: No header, no `run_id` or metric column, a repeated column or run, a cell that is no number.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        metrics, skipped = _columns(header)
        problems: list[Problem] = []
        lines = list(_lines(reader, header, metrics, problems))
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num} is not CSV: {error}", field="body") from None
    problems += _repeated(lines)
    if problems:
        raise InvalidInput(
            "the file holds lines that cannot be imported; nothing was", problems=problems[:_MAX_PROBLEMS]
        )
    if not lines:
        raise InvalidInput("the file holds no run; a line each follows the header", field="body")
    return Sheet(lines=tuple(lines), skipped_columns=tuple(skipped))


def _columns(header: list[str]) -> tuple[dict[int, str], list[str]]:
    """The metric of each column that has one, and the columns that are not read."""
    if "run_id" not in header:
        raise InvalidInput(
            f"the first line must name the columns: {','.join(RUN_COLUMNS)},metric:<name>…", field="run_id"
        )
    for name in header:
        if header.count(name) > 1:
            raise InvalidInput(f"column {name!r} is there twice", field=name or "header")
    metrics, skipped = {}, []
    for i, name in enumerate(header):
        if name in RUN_COLUMNS:
            continue
        metric = name.removeprefix(METRIC_PREFIX)
        if metric == name or not metric or _is_derived(metric):
            skipped.append(name)
        else:
            metrics[i] = metric
    if not metrics:
        raise InvalidInput(
            "no column is called metric:<name>; rename those that hold numbers", field="metric:"
        )
    return metrics, skipped


def _is_derived(metric: str) -> bool:
    parts = metric.lower().replace("-", "_").replace(" ", "_").split("_")
    return "%" in metric or any(word in parts for word in _DERIVED)


def _lines(
    reader: Iterator[list[str]], header: list[str], metrics: Mapping[int, str], problems: list[Problem]
) -> Iterator[Line]:
    for cells in reader:
        number = getattr(reader, "line_num", 0)
        if not any(cells):
            continue
        if len(cells) != len(header):
            message = f"has {len(cells)} cells under {len(header)} columns"
            problems.append(Problem(field=f"line {number}", message=message))
            continue
        if number > _MAX_LINES:
            raise InvalidInput(f"the file has more than {_MAX_LINES} lines; split it", field="body")
        about: dict[str, Any] = {
            name: _unguarded(cell.strip()) for name, cell in zip(header, cells, strict=True)
        }
        values = []
        for i, metric in metrics.items():
            try:
                value = _value(metric, cells[i])
            except ValueError as error:
                problems.append(Problem(field=f"line {number}, {header[i]}", message=str(error)))
                continue
            if value is not None:
                values.append(value)
        if not values:
            problems.append(Problem(field=f"line {number}", message="has no number in any metric column"))
            continue
        yield Line(
            number=number,
            run_key=about["run_id"],
            label=about.get("label", ""),
            timestamp=about.get("timestamp", ""),
            notes=about.get("notes", ""),
            tags=tuple(
                tag.strip() for tag in about.get("tags", "").replace(";", ",").split(",") if tag.strip()
            ),
            values=tuple(values),
        )


def _repeated(lines: list[Line]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for line in lines:
        before = first.setdefault(line.run_key, line.number)
        if before != line.number:
            message = f"run {line.run_key!r} is on line {before} already"
            problems.append(Problem(field=f"line {line.number}, run_id", message=message))
    return problems


def _unguarded(cell: str) -> str:
    # Exports write an apostrophe before what a spreadsheet would take for a formula.
    return cell[1:] if cell[:1] == "'" and cell[1:2] in tuple("=+-@\t\r") else cell


def _value(metric: str, cell: str) -> Value | None:
    """The cell's number; `>10` is a bound, an empty cell is no value.

    Raises:
        ValueError: It is none; the message says so.
    """
    text = _unguarded(cell.strip())
    if not text:
        return None
    bound = _BOUNDS.get(text[0], Bound.EXACT)
    digits = (text if bound is Bound.EXACT else text[1:].removeprefix("=")).strip()
    try:
        number = _WORDS[digits.lower()] if digits.lower() in _WORDS else float(digits)
    except ValueError:
        raise ValueError(
            f"{cell.strip()[:40]!r} is not a number; leave the cell empty where there is none"
        ) from None
    if not math.isfinite(number) and digits.lower() not in _WORDS:
        raise ValueError(f"{digits[:40]!r} is beyond what a double holds")
    return Value(metric=metric, group=OVERALL, value=number, bound=bound)
