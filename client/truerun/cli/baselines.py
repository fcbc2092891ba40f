"""`truerun leaderboard`, `promote`, `bootstrap`, `rollback`: who leads, and who is champion."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from truerun.cli.exits import Refused, UsageError
from truerun.cli.find import find_one_evaluation, project_path, segment
from truerun.cli.output import Output
from truerun.cli.service import PAGE, Service
from truerun.cli.text import change, number, visible


def leaderboard(args: argparse.Namespace, service: Service, out: Output) -> int:
    query: dict[str, Any] = {"stage": args.stage, "limit": min(args.limit, PAGE)}
    query |= {name: value for name in ("metric", "group") if (value := getattr(args, name)) is not None}
    query |= {"tags": args.tag} if args.tag else {}
    query |= {"rows": "evaluations"} if args.evaluations else {}
    query |= {"ineligible": "true"} if args.ineligible else {}
    path = f"{project_path(args.project, service)}/suites/{segment(args.suite)}/leaderboard"
    if args.md:
        out.lines(service.text(path, {**query, "format": "md"}).splitlines())
        return 0
    if args.csv:
        out.raw(service.text(path, {**query, "format": "csv"}))
        return 0
    board = _board(path, query, args.limit, service)
    if out.as_json:
        out.document(board)
        return 0
    direction = f" ({board['direction']} is better)" if board.get("direction") in ("lower", "higher") else ""
    about = (
        f"{board.get('metric')} of {board.get('group')} on {board.get('suite')}, stage {board.get('stage')}"
    )
    out.lines([visible(f"{about}{direction}"), ""])
    header = ("", "RANK", "RUN", "NAME", "VALUE", "CHANGE", "WORST GROUP", "GATE", "N", "TAGS")
    rows = [_row(item) for item in board.get("items") or []]
    out.table(header, rows, right="lrllrrllrl", empty="nobody is on this leaderboard yet")
    if board.get("next_cursor"):
        out.note(f"there is more; --limit {args.limit * 2} shows it")
    return 0


def _board(path: str, query: dict[str, Any], limit: int, service: Service) -> dict[str, Any]:
    """The board with up to `limit` items, page after page."""
    board = service.get(path, query)
    while board.get("next_cursor") and len(board.get("items") or []) < limit:
        left = limit - len(board["items"])
        page = service.get(path, {**query, "limit": min(left, PAGE), "cursor": board["next_cursor"]})
        if not page.get("items"):
            break
        board = {**board, "items": board["items"] + page["items"], "next_cursor": page.get("next_cursor")}
    return board


def promote(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Make an evaluation the champion, if it still is what was looked at when the command began."""
    kind = "override" if args.override else "bootstrap" if args.bootstrap else "promote"
    if kind == "override" and not args.reason:
        raise UsageError("an override needs --reason: it is shown for ever")
    evaluation = find_one_evaluation(args.thing, args.suite, args.stage, args.project, service)
    suite, stage = str(evaluation.get("suite")), str(evaluation.get("stage"))
    if args.suite not in (None, suite) or args.stage not in (None, stage):
        raise UsageError(f"evaluation {args.thing} is on suite {suite}, stage {stage}")
    path = (
        f"{project_path(evaluation.get('project') or args.project, service)}/suites/{segment(suite)}/baseline"
    )
    pointer = service.get(path, {"stage": stage})
    body = {
        "kind": kind,
        "stage": stage,
        "evaluation": evaluation["evaluation"],
        "expected_version": pointer.get("version"),
        **({"reason": args.reason} if args.reason else {}),
    }
    try:
        event = service.send("POST", f"{path}/events", body)
    except Refused as error:
        raise Refused(
            f"not promoted: {error.message}{_way_out(kind, pointer)}", reasons=error.reasons
        ) from None
    _show_event(event, f"{suite}, stage {stage}", out)
    return 0


def rollback(args: argparse.Namespace, service: Service, out: Output) -> int:
    path = f"{project_path(args.project, service)}/suites/{segment(args.suite)}/baseline"
    pointer = service.get(path, {"stage": args.stage})
    body = {
        "kind": "rollback",
        "stage": args.stage,
        "expected_version": pointer.get("version"),
        "reason": args.reason,
        **({"to_event": args.to} if args.to is not None else {}),
    }
    event = service.send("POST", f"{path}/events", body)
    _show_event(event, f"{args.suite}, stage {args.stage}", out)
    return 0


def history(args: argparse.Namespace, service: Service, out: Output) -> int:
    """The champion of a suite and every event that made one."""
    path = f"{project_path(args.project, service)}/suites/{segment(args.suite)}/baseline"
    events = service.items(f"{path}/events", {"stage": args.stage}, limit=args.limit)
    if out.as_json:
        out.document({**service.get(path, {"stage": args.stage}), "events": events})
        return 0
    header = ("VERSION", "KIND", "RUN", "EVALUATION", "ACTOR", "REASON", "CREATED")
    names = ("version", "kind", "run", "evaluation", "actor", "reason", "created_at")
    rows = [
        tuple(event.get(name) if event.get(name) is not None else "-" for name in names) for event in events
    ]
    out.table(header, rows, right="r", empty="no champion yet")
    return 0


def _row(item: Mapping[str, Any]) -> tuple[Any, ...]:
    bound = {"at_least": "≥ ", "at_most": "≤ "}.get(str(item.get("bound")), "")
    worst = item.get("worst")
    gate = f"{item.get('gate')}{' (stale)' if item.get('stale') else ''}"
    return (
        "*" if item.get("champion") else "",
        item.get("rank") if item.get("rank") is not None else "-",
        item.get("run"),
        item.get("name") or "-",
        f"{bound}{number(item.get('value'))}",
        change(item.get("change")),
        f"{worst.get('group')}: {change(worst.get('worsening'))}" if isinstance(worst, Mapping) else "-",
        gate if item.get("eligible", True) else f"{gate}, {item.get('reason') or 'not eligible'}",
        item.get("n") if item.get("n") is not None else "-",
        ", ".join(str(tag) for tag in item.get("tags") or []) or "-",
    )


def _way_out(kind: str, pointer: Mapping[str, Any]) -> str:
    if kind == "promote" and pointer.get("evaluation") is None:
        return "; there is no champion yet: the first one is made with --bootstrap"
    if kind == "bootstrap" and pointer.get("evaluation") is not None:
        return "; there is a champion already: leave out --bootstrap"
    return ""


def _show_event(event: Mapping[str, Any], where: str, out: Output) -> None:
    if out.as_json:
        out.document(event)
        return
    champion = f"run {event.get('run')}" if event.get("run") else "nobody"
    out.lines(
        [
            visible(
                f"{champion} is champion of {where} now (version {event.get('version')}, {event.get('kind')})"
            )
        ]
    )
    detail = event.get("detail")
    if isinstance(detail, Mapping) and detail.get("sentence"):
        out.lines([f"  {visible(detail['sentence'])}"])
    unmet = detail.get("unmet") if isinstance(detail, Mapping) else None
    for item in unmet if isinstance(unmet, list) else []:
        if isinstance(item, Mapping):
            cell = f"{item.get('metric')} of {item.get('group')}: {number(item.get('candidate'))}"
            out.lines([f"  limit not met: {visible(cell)}, limit {number(item.get('limit'))}"])
