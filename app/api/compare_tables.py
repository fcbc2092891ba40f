"""A comparison as tables: for people one table a question, for programs one sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from app.api.compare_answers import (
    CompareAnswer,
    ComparedCellAnswer,
    ComparedRowAnswer,
    ComparedSuiteAnswer,
    EntryAnswer,
)
from app.api.formats.table import Cell, Table
from app.domain.sentences import number, percent

# Of a key that a configuration has not; of a number that a run has not.
ABSENT, NOTHING = "(absent)", "–"
_WHY = {
    "incomparable": "not comparable",
    "no_baseline_value": "nothing to compare with",
    "baseline_invalid": "the base is not usable",
    "non_finite": "not finite",
    "impossible_value": "impossible value",
    "censored": "only a bound",
    "zero_baseline": "the base is zero",
}


def compare_tables(answer: CompareAnswer) -> list[Table]:
    """Runs, configuration, environment, then one table a suite and stage; all without their empty ones."""
    keys = [run.run for run in answer.runs]
    tables = [_runs(answer)]
    for title, found in (
        (f"Configuration that differs ({answer.config.equal} keys are the same)", answer.config.different),
        ("Configuration that is the same", answer.config.same or []),
        (
            f"Environment that differs ({answer.environment.equal} facts are the same)",
            answer.environment.different,
        ),
        ("Environment that is the same", answer.environment.same or []),
    ):
        if found:
            tables.append(
                Table(
                    title=title, columns=("key", *keys), rows=[_entry_cells(entry, keys) for entry in found]
                )
            )
    return [*tables, *(_suite(suite, keys) for suite in answer.suites)]


def compare_csv(answer: CompareAnswer) -> Table:
    """One sheet: a value and a change column a run; what a run has not is empty, null is `null`."""
    keys = [run.run for run in answer.runs]
    return Table(
        title="",
        columns=(
            *("section", "suite", "stage", "metric", "name"),
            *keys,
            *(f"change {key}" for key in keys),
        ),
        rows=list(_sheet(answer, keys)),
    )


def _runs(answer: CompareAnswer) -> Table:
    facts: list[tuple[str, list[Cell]]] = [
        ("name", [run.name for run in answer.runs]),
        ("status", [run.status for run in answer.runs]),
        ("validity", [_validity(run.validity, run.validity_reason) for run in answer.runs]),
        ("seed", [run.seed for run in answer.runs]),
        ("commit", [_commit(run.git_commit, dirty=run.git_dirty) for run in answer.runs]),
    ]
    facts += [
        (entry.key, list(_entry_cells(entry, [run.run for run in answer.runs])[1:])) for entry in answer.seeds
    ]
    return Table(
        title=f"{answer.project}: {len(answer.runs)} runs beside each other",
        columns=("", *(run.run for run in answer.runs)),
        rows=[(name, *(NOTHING if cell is None else cell for cell in cells)) for name, cells in facts],
    )


def _suite(suite: ComparedSuiteAnswer, keys: list[str]) -> Table:
    stage = "" if suite.stage == "final" else f" ({suite.stage})"
    gates = [
        NOTHING
        if (one := suite.evaluations.get(key)) is None
        else one.gate + (" (stale)" if one.stale else "") + (", champion" if one.champion else "")
        for key in keys
    ]
    return Table(
        title=f"{suite.suite}{stage}: change against {suite.base}{_because(suite)}",
        columns=("metric", "group", *keys),
        rows=[
            ("", "gate", *gates),
            *((row.metric, row.group, *(_shown(row, key) for key in keys)) for row in suite.rows),
        ],
    )


def _because(suite: ComparedSuiteAnswer) -> str:
    return " (the champion)" if suite.base_because == "champion" else ""


def _shown(row: ComparedRowAnswer, key: str) -> str:
    cell = row.cells.get(key)
    if cell is None:
        return NOTHING
    words = [_value(cell), _change(cell), "" if cell.mark is None else f"({cell.mark})"]
    return " ".join(filter(None, words))


def _value(cell: ComparedCellAnswer) -> str:
    sign = {"at_least": "≥ ", "at_most": "≤ "}.get(cell.bound, "")
    return f"{sign}{number(cell.value)}"


def _change(cell: ComparedCellAnswer) -> str:
    if cell.change is not None:
        return percent(cell.change)
    if cell.reason == "incomparable":
        return f"not comparable: {', '.join(cell.differing)}"
    return _WHY.get(cell.reason or "", "")


def _entry_cells(entry: EntryAnswer, keys: list[str]) -> tuple[Cell, ...]:
    return entry.key, *(_text(entry.values[key]) if key in entry.values else ABSENT for key in keys)


def _text(value: Any) -> str:
    """A value as JSON, but text that nobody can take for anything else as it is."""
    if isinstance(value, str) and value not in ("", ABSENT):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return value
    return json.dumps(value, ensure_ascii=False)


def _sheet(answer: CompareAnswer, keys: list[str]) -> Iterator[tuple[Cell, ...]]:
    nothing = ("",) * len(keys)
    for name in ("name", "status", "validity", "seed", "git_commit", "git_dirty", "recipe"):
        facts = [getattr(run, name) for run in answer.runs]
        yield "run", "", "", "", name, *(None if fact is None else str(fact) for fact in facts), *nothing
    for section, found in (
        ("config", [*answer.config.different, *answer.seeds, *(answer.config.same or [])]),
        ("environment", [*answer.environment.different, *(answer.environment.same or [])]),
    ):
        for entry in found:
            cells = (_csv_leaf(entry.values[key]) if key in entry.values else None for key in keys)
            yield section, "", "", "", entry.key, *cells, *nothing
    for suite in answer.suites:
        place = (suite.suite, suite.stage)
        gates = (one.gate if (one := suite.evaluations.get(key)) else None for key in keys)
        yield "gate", *place, "", "gate", *gates, *nothing
        for row in suite.rows:
            yield (
                row.kind,
                *place,
                row.metric,
                row.group,
                *(None if key not in row.cells else _csv_value(row.cells[key]) for key in keys),
                *(None if key not in row.cells else _csv_change(row.cells[key]) for key in keys),
            )


def _csv_leaf(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else _text(value)


def _csv_value(cell: ComparedCellAnswer) -> Cell:
    return (
        cell.value if cell.bound == "exact" else f"{'≥' if cell.bound == 'at_least' else '≤'} {cell.value!r}"
    )


def _csv_change(cell: ComparedCellAnswer) -> Cell:
    return cell.change if cell.change is not None else _change(cell) or None


def _validity(validity: str, reason: str | None) -> str:
    return validity if reason is None else f"{validity}: {reason}"


def _commit(commit: str | None, *, dirty: bool | None) -> str | None:
    return None if commit is None else commit[:12] + (", with changes" if dirty else "")
