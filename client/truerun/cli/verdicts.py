"""A verdict on paper: as plain text, and as Markdown for a build's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from truerun.cli.output import Output
from truerun.cli.text import change, code, markdown, markdown_table, number, visible

_FIRST = ("failed", "regressed", "inconclusive", "not_evaluated", "improved", "pass")
_QUIET = ("improved", "pass")
_CHECKS = ("OUTCOME", "RULE", "METRIC", "GROUP", "CANDIDATE", "BASELINE", "CHANGE", "LIMIT", "WHY")
_AGGREGATES = ("METRIC", "COLUMN", "VALUE", "BASELINE", "CHANGE", "GROUPS")


def show_verdict(document: Mapping[str, Any], out: Output, *, everything: bool) -> None:
    """Print a verdict for a person.

    Args:
        everything: Also the checks that passed, and the aggregates.
    """
    out.lines(
        [
            f"{out.gate(gate_of(document))}  {visible(subject(document))}",
            f"  {visible(document.get('sentence'))}",
        ]
    )
    out.lines([f"  {visible(line)}" for line in remarks(document)])
    checks = _sorted_checks(document)
    shown = checks if everything else [check for check in checks if check.get("outcome") not in _QUIET]
    if shown:
        out.lines([""])
        out.table(_CHECKS, [_check_cells(check) for check in shown], right="llllrrrrl")
    if len(shown) < len(checks):
        out.lines(
            ["", f"{len(checks) - len(shown)} of {len(checks)} checks passed or improved (--all lists them)"]
        )
    aggregates = _mappings(document.get("aggregates"))
    if everything and aggregates:
        out.lines([""])
        out.table(_AGGREGATES, [_aggregate_cells(item) for item in aggregates], right="llrrrl")


def verdict_as_markdown(document: Mapping[str, Any]) -> list[str]:
    """The same for a build's summary; every name in it is foreign."""
    facts = [("suite", document.get("suite")), ("stage", document.get("stage")), ("run", document.get("run"))]
    facts += [("evaluation", document.get("evaluation"))]
    lines = [
        f"### Truerun: gate {markdown(gate_of(document))}",
        "",
        f"**{markdown(document.get('sentence'))}**",
        "",
        ", ".join(f"{name} {code(value)}" for name, value in facts if value is not None),
    ]
    lines += ["", *(f"- {markdown(line)}" for line in remarks(document))]
    checks = _sorted_checks(document)
    loud = [check for check in checks if check.get("outcome") not in _QUIET]
    if loud:
        rows = [_markdown_cells(_check_cells(check), names=(2, 3)) for check in loud]
        lines += ["", *markdown_table([head.lower() for head in _CHECKS], rows, right="llllrrrrl")]
    if len(loud) < len(checks):
        lines += ["", f"{len(checks) - len(loud)} of {len(checks)} checks passed or improved."]
    aggregates = _mappings(document.get("aggregates"))
    if aggregates:
        rows = [_markdown_cells(_aggregate_cells(item), names=(0, 1)) for item in aggregates]
        lines += ["", *markdown_table([head.lower() for head in _AGGREGATES], rows, right="llrrrl")]
    return lines


def gate_of(document: Mapping[str, Any]) -> str:
    return str(document.get("gate"))


def subject(document: Mapping[str, Any]) -> str:
    """What the verdict is about, in one line."""
    step = f", step {document['step']}" if document.get("step") is not None else ""
    return f"run {document.get('run')} on {document.get('suite')}, stage {document.get('stage')}{step}"


def remarks(document: Mapping[str, Any]) -> list[str]:
    """What else must be known to read the verdict rightly."""
    baseline = document.get("baseline")
    lines = []
    if isinstance(baseline, Mapping):
        lines.append(
            f"measured against run {baseline.get('run')} (champion version {baseline.get('version')}), "
            f"by policy version {document.get('policy_version')}"
        )
    else:
        lines.append(f"measured against no champion, by policy version {document.get('policy_version')}")
    if document.get("validity") not in (None, "valid"):
        reason = f": {document['validity_reason']}" if document.get("validity_reason") else ""
        lines.append(f"marked {document['validity']}{reason}")
    if document.get("purpose") == "progress":
        lines.append("measured during training (progress): never listed, never promoted")
    if document.get("stale"):
        lines.append("stale: the champion has changed since, and the evaluation is about to be judged again")
    return lines


def _sorted_checks(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    checks = _mappings(document.get("checks"))

    def urgency(check: Mapping[str, Any]) -> tuple[bool, int]:
        outcome = str(check.get("outcome"))
        rank = _FIRST.index(outcome) if outcome in _FIRST else -1
        return (not (check.get("required") and outcome not in _QUIET), rank)

    return sorted(checks, key=urgency)


def _check_cells(check: Mapping[str, Any]) -> list[str]:
    notes = check.get("notes")
    # A regression's and a limit's numbers stand in their own columns; a finding's only in its text.
    said = check.get("reason") if check.get("rule") in ("regression", "limit") else check.get("text")
    said = said or check.get("reason")
    why = [str(said)] if said else []
    why += [str(note) for note in notes] if isinstance(notes, list) else []
    why += [] if check.get("required") else ["advisory"]
    return [
        str(check.get("outcome")),
        str(check.get("rule")),
        str(check.get("metric") or "-"),
        str(check.get("group") or "-"),
        number(check.get("candidate")),
        number(check.get("baseline")),
        change(check.get("worsening")),
        number(check.get("limit")),
        ", ".join(why) or "-",
    ]


def _aggregate_cells(item: Mapping[str, Any]) -> list[str]:
    group = f" ({item['group']})" if item.get("group") else ""
    used, total = item.get("groups_used"), item.get("groups_total")
    return [
        str(item.get("metric")),
        f"{item.get('name')}{group}",
        number(item.get("value")),
        number(item.get("baseline")),
        change(item.get("worsening")),
        f"{used} of {total}" if total is not None else "-",
    ]


def _markdown_cells(cells: Sequence[str], *, names: tuple[int, ...]) -> list[str]:
    return [code(cell) if i in names and cell != "-" else markdown(cell) for i, cell in enumerate(cells)]


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
