"""`truerun sinks` and `truerun deliveries`: where verdicts go, and what is owed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from truerun.cli.exits import CLOSED, Refused, UsageError
from truerun.cli.find import project_path, segment
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import moment, visible

# What the service tells of a sink beyond what may be said of it.
_TOLD = frozenset(
    {
        "secret",
        "paused",
        "owed",
        "failing",
        "buried",
        "lag_seconds",
        "last_delivered_at",
        "last_error",
        "created_at",
        "changed_at",
        "changed_by",
    }
)


_UNSETTLED = ("owed", "failing")
_POLL_SECONDS = 0.25


def list_sinks(args: argparse.Namespace, service: Service, out: Output) -> int:
    _show(service.get(f"{project_path(args.project, service)}/sinks"), out)
    return 0


def put_sinks(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Set all sinks from a file; what `truerun --json sinks` prints is such a file."""
    document = _document(args.file)
    answer = service.send("PUT", f"{project_path(args.project, service)}/sinks", document)
    _show(answer, out)
    return 0


def test_sink(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Send a test through the worker and wait for what becomes of it: 0 where it arrived, else 1."""
    project = project_path(args.project, service)
    asked = service.send("POST", f"{project}/sinks/{segment(args.name)}/test", {})
    began = time.monotonic()
    test = asked
    while test.get("state") in _UNSETTLED and (left := began + args.wait - time.monotonic()) > 0:
        time.sleep(min(_POLL_SECONDS, left))
        query = {"sink": args.name, "topic": asked.get("topic")}
        newest = service.items(f"{project}/deliveries", query, limit=1)
        if not newest or newest[0].get("id") != asked.get("id"):
            raise Refused(f"another test of {args.name} was begun meanwhile; look at its outcome")
        (test,) = newest
    has_arrived = test.get("state") == "delivered"
    if out.as_json:
        out.document(test)
    elif has_arrived:
        out.lines([visible(f"{args.name}: the test has arrived")])
        out.lines([visible(test["receipt"])] if test.get("receipt") else [])
    elif test.get("state") in _UNSETTLED:
        why = test.get("last_error") or "does a worker run, and has it this kind of sink?"
        look = f"truerun deliveries list --sink {args.name}"
        out.note(f"{args.name}: nothing became of the test within {args.wait:g} s; {why} Look again: {look}")
    else:
        out.note(f"{args.name}: the test did not arrive: {test.get('last_error')}")
    return 0 if has_arrived else CLOSED


def wanted(sink: Mapping[str, Any]) -> dict[str, Any]:
    """A sink as the service tells of it, as it may be said."""
    return {key: value for key, value in sink.items() if key not in _TOLD}


def list_deliveries(args: argparse.Namespace, service: Service, out: Output) -> int:
    filters = {"state": args.state, "sink": args.sink, "topic": args.topic}
    query = {name: value for name, value in filters.items() if value}
    items = service.items(f"{project_path(args.project, service)}/deliveries", query, limit=args.limit)
    if out.as_json:
        out.document({"items": items})
        return 0
    rows = [
        (
            item.get("id"),
            item.get("sink"),
            item.get("topic"),
            "under way" if item.get("is_under_way") else item.get("state"),
            item.get("attempts"),
            moment(item.get("created_at")),
            moment(item.get("delivered_at") or item.get("buried_at") or item.get("available_at")),
            (item.get("receipt") if item.get("state") == "delivered" else item.get("last_error")) or "-",
        )
        for item in items
    ]
    header = ("DELIVERY", "SINK", "TOPIC", "STATE", "TRIES", "WRITTEN", "DONE OR DUE", "SAID")
    out.table(header, rows, right="rlllr", empty="no delivery")
    return 0


def change_delivery(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Try one again, or discard it."""
    path = f"{project_path(args.project, service)}/deliveries/{args.delivery}/{args.verb}"
    delivery = service.send("POST", path, {"reason": args.reason} if args.verb == "discard" else {})
    if out.as_json:
        out.document(delivery)
    else:
        said = "is discarded" if args.verb == "discard" else "is due at once"
        out.lines([visible(f"delivery {args.delivery} to {delivery.get('sink')} {said}")])
    return 0


def _show(answer: dict[str, Any], out: Output) -> None:
    if out.as_json:
        out.document(answer)
        return
    listed = answer.get("sinks")
    sinks = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    rows = [
        (
            sink.get("name"),
            sink.get("kind"),
            "enabled" if sink.get("enabled") else "disabled",
            sink.get("owed"),
            sink.get("failing"),
            sink.get("buried"),
            f"{sink.get('lag_seconds') or 0:.0f} s",
            moment(sink.get("last_delivered_at")),
            sink.get("last_error") or "-",
        )
        for sink in sinks
    ]
    header = ("SINK", "KIND", "STATE", "OWED", "FAILING", "BURIED", "LAG", "LAST DELIVERED", "LAST ERROR")
    out.table(header, rows, right="lllrrrr", empty="no sink: verdicts go nowhere")
    for sink in sinks:
        paused, secret = sink.get("paused"), sink.get("secret")
        if isinstance(paused, dict):
            out.note(
                f"{sink.get('name')} is paused until {moment(paused.get('until'))}: {paused.get('because')}"
            )
        if isinstance(secret, dict) and not secret.get("is_set"):
            out.note(
                f"{sink.get('name')} needs {secret.get('variable')}, which the service's environment lacks"
            )


def _document(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{name} is no JSON: {error}") from None
    sinks = document.get("sinks") if isinstance(document, dict) else None
    if not isinstance(sinks, list) or not all(isinstance(sink, dict) for sink in sinks):
        raise UsageError(
            f'{name} names no sinks; it looks like {{"sinks": [{{"name": "log", "kind": "log"}}]}}'
        )
    return {**document, "sinks": [wanted(sink) for sink in sinks]}
