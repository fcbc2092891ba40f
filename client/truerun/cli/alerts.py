"""`truerun alerts`: the inbox of a project."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from truerun.cli.exits import UsageError
from truerun.cli.find import project_path
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import moment, visible

_SPAN = re.compile(r"(\d+)([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_STATES = {"ack": "acknowledged", "mute": "muted", "resolve": "resolved"}


def list_alerts(args: argparse.Namespace, service: Service, out: Output) -> int:
    query = {"state": args.state} if args.state else {}
    items = service.items(f"{project_path(args.project, service)}/alerts", query, limit=args.limit)
    if out.as_json:
        out.document({"items": items})
        return 0
    rows = [
        (
            item.get("id"),
            item.get("level"),
            f"{item.get('state')}{_until(item)}",
            f"{item['suite']}/{item.get('stage')}" if item.get("suite") else "(training)",
            item.get("run") or item.get("subject"),
            item.get("count"),
            moment(item.get("updated_at")),
            item.get("title"),
        )
        for item in items
    ]
    header = ("ALERT", "LEVEL", "STATE", "SUITE", "RUN", "COUNT", "UPDATED", "TITLE")
    out.table(header, rows, right="lllllr", empty="no alert")
    for item in items:
        lines = item.get("lines")
        told = (
            [str(line.get("text")) for line in lines if isinstance(line, dict)]
            if isinstance(lines, list)
            else []
        )
        out.lines(["", visible(item.get("title")), *(f"  {visible(line)}" for line in told)])
    return 0


def change_alert(args: argparse.Namespace, service: Service, out: Output) -> int:
    body: dict[str, Any] = {"state": _STATES[args.verb]}
    if args.verb == "mute":
        body["until"] = moment_of(args.until, datetime.now(timezone.utc))
    if args.reason:
        body["reason"] = args.reason
    alert = service.send("PATCH", f"/alerts/{args.alert}", body)
    if out.as_json:
        out.document(alert)
    else:
        out.lines([visible(f"alert {args.alert} is {alert.get('state', body['state'])}{_until(alert)}")])
    return 0


def moment_of(text: str, now: datetime) -> str:
    """A moment as the service reads it: `2h`, `3d`, `1w` from now, or an ISO date and time."""
    span = _SPAN.fullmatch(text.strip())
    try:
        if span:
            return (now + timedelta(seconds=int(span[1]) * _SECONDS[span[2]])).isoformat()
        given = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no moment; write 2h, 3d, 1w or 2026-01-31T18:00") from None
    return (given if given.tzinfo else given.astimezone()).isoformat()


def _until(item: dict[str, Any]) -> str:
    return (
        f" until {moment(item['muted_until'])}"
        if item.get("state") == "muted" and item.get("muted_until")
        else ""
    )
