"""`truerun compare`: what differs between runs, and what came of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from truerun.cli.find import project_path
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import change, number, visible

ABSENT = "(absent)"
NOTHING = "-"
_WHY = {
    "baseline_invalid": "the base is not usable",
    "impossible_value": "impossible value",
    "zero_baseline": "the base is zero",
}


def compare(args: argparse.Namespace, service: Service, out: Output) -> int:
    query: dict[str, Any] = {"runs": ",".join(args.runs)}
    for name in ("suite", "stage", "metric", "base"):
        query |= {name: value} if (value := getattr(args, name)) is not None else {}
    query |= {"all": "true"} if args.all else {}
    path = f"{project_path(args.project, service)}/compare"
    if args.format in ("md", "csv", "html"):
        out.file(service.text(path, {**query, "format": args.format}), args.format)
        return 0
    answer = service.get(path, query)
    if out.as_json or args.format == "json":
        out.document(answer)
    else:
        _show(answer, out)
    return 0


def _show(answer: Mapping[str, Any], out: Output) -> None:
    runs = _mappings(answer.get("runs"))
    keys = [str(run.get("run")) for run in runs]
    out.beside(("RUN",), keys, _facts(runs, _mappings(answer.get("seeds")), keys))
    for title, part in (("configuration", answer.get("config")), ("environment", answer.get("environment"))):
        _show_difference(title, part if isinstance(part, Mapping) else {}, keys, out)
    for suite in _mappings(answer.get("suites")):
        _show_suite(suite, keys, out)
    alone = _mappings(answer.get("not_shared"))
    if alone:
        places = ", ".join(f"{one.get('suite')}/{one.get('stage')} ({one.get('run')})" for one in alone)
        out.lines(["", visible(f"on a suite alone: {places}; --suite shows it")])


def _facts(
    runs: Sequence[Mapping[str, Any]], seeds: Iterable[Mapping[str, Any]], keys: Sequence[str]
) -> list[tuple[str, ...]]:
    return [
        ("name", *(str(run.get("name") or NOTHING) for run in runs)),
        ("status", *(str(run.get("status")) for run in runs)),
        ("validity", *(_with_reason(run.get("validity"), run.get("validity_reason")) for run in runs)),
        ("seed", *(NOTHING if run.get("seed") is None else str(run["seed"]) for run in runs)),
        *(_entry(entry, keys) for entry in seeds),
        ("commit", *(_commit(run) for run in runs)),
    ]


def _show_difference(title: str, part: Mapping[str, Any], keys: Sequence[str], out: Output) -> None:
    different, same = _mappings(part.get("different")), part.get("same")
    equal = part.get("equal") or 0
    keys_say = f"{equal} key{'' if equal == 1 else 's'}"
    hint = " (--all lists them)" if equal and not isinstance(same, list) else ""
    differs = "differs" if different else "does not differ"
    out.lines(["", f"{title} {differs}; the same in {keys_say}{hint}" if equal else f"{title} {differs}"])
    if different:
        out.lines([""])
        out.beside(("KEY",), keys, [_entry(entry, keys) for entry in different])
    if isinstance(same, list) and same:
        out.lines(["", f"{title} that is the same", ""])
        out.beside(("KEY",), keys, [_entry(entry, keys) for entry in _mappings(same)])


def _show_suite(suite: Mapping[str, Any], keys: Sequence[str], out: Output) -> None:
    because = ", the champion" if suite.get("base_because") == "champion" else ""
    place = f"{suite.get('suite')}, stage {suite.get('stage')}"
    out.lines(["", visible(f"{place}: change against {suite.get('base')}{because}"), ""])
    evaluations = suite.get("evaluations")
    gates = [_gate(evaluations.get(key) if isinstance(evaluations, Mapping) else None) for key in keys]
    rows = [("", "gate", *gates)]
    shown = None
    for row in _mappings(suite.get("rows")):
        # A metric's name once is enough for the eye; machines read --format csv.
        metric = str(row.get("metric"))
        rows.append((metric if metric != shown else "", str(row.get("group")), *_cells(row, keys)))
        shown = metric
    out.beside(("METRIC", "GROUP"), keys, rows)


def _cells(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    cells = row.get("cells")
    return [_cell(cells.get(key) if isinstance(cells, Mapping) else None) for key in keys]


def _cell(cell: Any) -> str:
    if not isinstance(cell, Mapping):
        return NOTHING
    sign = {"at_least": "≥ ", "at_most": "≤ "}.get(str(cell.get("bound")), "")
    words = [f"{sign}{number(cell.get('value'))}"]
    if cell.get("change") is not None:
        words.append(change(cell["change"]))
    elif cell.get("reason") == "incomparable":
        words.append(f"not comparable ({', '.join(map(str, cell.get('differing') or []))})")
    elif cell.get("reason") in _WHY:
        words.append(_WHY[str(cell["reason"])])
    # In words and not in colours, which neither a printer nor a log shows.
    if cell.get("mark") in ("best", "worst"):
        words.append(f"[{cell['mark']}]")
    return " ".join(words)


def _gate(evaluation: Any) -> str:
    if not isinstance(evaluation, Mapping):
        return "no evaluation"
    words = [f"{evaluation.get('gate')}{' (stale)' if evaluation.get('stale') else ''}"]
    if evaluation.get("validity") not in (None, "valid"):
        words.append(_with_reason(evaluation["validity"], evaluation.get("reason")))
    if evaluation.get("champion"):
        words.append("champion")
    return ", ".join(words)


def _entry(entry: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    values = entry.get("values")
    found = values if isinstance(values, Mapping) else {}
    return (str(entry.get("key")), *(_plain(found[key]) if key in found else ABSENT for key in keys))


def _plain(value: Any) -> str:
    """A value as JSON, but text that nobody can take for anything else as it is."""
    if isinstance(value, str) and value not in ("", ABSENT):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return value
    return json.dumps(value, ensure_ascii=False)


def _with_reason(validity: Any, reason: Any) -> str:
    return f"{validity}: {reason}" if reason else str(validity)


def _commit(run: Mapping[str, Any]) -> str:
    commit = run.get("git_commit")
    changed = {True: " with changes", False: ""}.get(run.get("git_dirty"), "")  # type: ignore[arg-type]
    return f"{str(commit)[:12]}{changed}" if commit else NOTHING


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
