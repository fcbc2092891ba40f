"""`truerun import csv` and `truerun export csv`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from truerun.cli.exits import UsageError
from truerun.cli.find import project_path
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import visible


def import_csv(args: argparse.Namespace, service: Service, out: Output) -> int:
    try:
        content = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    except OSError as error:
        raise UsageError(f"{args.file} cannot be read: {error.strerror}") from None
    path = f"{project_path(args.project, service)}/import/csv"
    answer = service.upload("POST", path, content, "text/csv", {"suite": args.suite})
    if out.as_json:
        out.document(answer)
        return 0
    out.lines([f"{answer.get('created')} created, {answer.get('known')} known already"])
    skipped = answer.get("skipped_columns") or []
    if skipped:
        out.note(f"not imported, since the service computes changes itself: {', '.join(map(str, skipped))}")
    return 0


def export_csv(args: argparse.Namespace, service: Service, out: Output) -> int:
    query = {name: value for name in ("suite", "stage") if (value := getattr(args, name)) is not None}
    text = service.text(f"{project_path(args.project, service)}/runs.csv", query)
    if args.output in (None, "-"):
        out.document({"csv": text}) if out.as_json else out.raw(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{args.output} cannot be written: {error.strerror}") from None
    if out.as_json:
        out.document({"file": args.output})
    else:
        out.lines([visible(f"{args.output} is written")])
    return 0
