"""`truerun promote`, `bootstrap`, `rollback`, `champions`: who is champion, and who was."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from truerun.cli.exits import Refused, UsageError
from truerun.cli.find import find_one_evaluation, project_path, segment
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import number, visible


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
