"""`truerun check`: the gate as an exit code; `truerun show`: the whole verdict or run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from truerun.cli.exits import (
    CLOSED,
    OPEN,
    UNDECIDED,
    CommandError,
    NotFound,
    Refused,
    Unreachable,
    UsageError,
)
from truerun.cli.find import evaluations_of_run, find_evaluation, find_run, project_key, segment
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.verdicts import show_verdict, verdict_as_markdown
from truerun.configuration import as_json
from truerun.environment import environment_of_machine, source_of
from truerun.ids import new_id
from truerun.manners import WrongCall
from truerun.posting import cells_of, heading, loss_document, posting_document, stated_document

_RUN_MEMBERS = ("name", "config", "seed", "split_seeded", "tags", "notes", "run_group")
_ABOUT_MEMBERS = ("dataset", "dataset_version", "split", "protocol")
_FILE_MEMBERS = {
    "values",
    "groups",
    "metrics",
    "tiers",
    "stated",
    "loss",
    "info",
    "step",
    "suite",
    "stage",
    "purpose",
}
_FILE_MEMBERS |= {*_RUN_MEMBERS, *_ABOUT_MEMBERS}
POLL_SECONDS = 0.5


def check(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Exit 0 when every gate asked for is open, 1 when one is closed, 2 when none is but one is undecided."""
    try:
        verdicts = _verdicts(args, service)
    except Refused as error:
        # A refusal here says nothing about the gate, so it must not read as a closed one.
        raise Unreachable(error.message, reasons=error.reasons) from None
    if out.as_json:
        out.document(verdicts[0] if len(verdicts) == 1 else {"items": verdicts})
    for i, verdict in enumerate([] if out.as_json else verdicts):
        if args.md:
            out.lines([*([""] if i else []), *verdict_as_markdown(verdict)])
        else:
            show_verdict(verdict, out, everything=args.all)
    if not verdicts:
        out.note("nothing was judged: the run has no candidate evaluation there, so the gate is not open")
    return exit_code(verdicts)


def exit_code(verdicts: list[dict[str, Any]]) -> int:
    """Open only when everything is open, and known to be so against the champion of now."""
    gates = ["undecided" if verdict.get("stale") else verdict.get("gate") for verdict in verdicts]
    if "closed" in gates:
        return CLOSED
    return OPEN if gates and all(gate == "open" for gate in gates) else UNDECIDED


def show(args: argparse.Namespace, service: Service, out: Output) -> int:
    """A verdict with all its checks, or a run with its evaluations."""
    evaluation = find_evaluation(args.thing, service)
    if evaluation is not None:
        out.document(evaluation) if out.as_json else show_verdict(evaluation, out, everything=True)
        return 0
    run = find_run(args.thing, args.project, service)
    evaluations = service.items(f"/runs/{run['run_id']}/evaluations")
    if out.as_json:
        out.document({**run, "evaluations": evaluations})
        return 0
    facts = [(name, run.get(name)) for name in ("key", "name", "run_id", "project", "status", "validity")]
    facts += [
        (name, run.get(name)) for name in ("validity_reason", "run_group", "seed", "git_commit", "attempt")
    ]
    facts += [
        ("tags", ", ".join(str(tag) for tag in run.get("tags") or [])),
        ("created", run.get("created_at")),
    ]
    out.table(("RUN", ""), [(name, value) for name, value in facts if value not in (None, "")])
    config = run.get("config")
    if isinstance(config, Mapping) and config:
        out.lines([""])
        out.table(("CONFIG", ""), [(key, json.dumps(value)) for key, value in sorted(config.items())])
    out.lines([""])
    header = ("EVALUATION", "SUITE", "STAGE", "STEP", "PURPOSE", "GATE", "SENTENCE")
    rows = [
        (
            item.get("evaluation"),
            item.get("suite"),
            item.get("stage"),
            "-" if item.get("step") is None else item["step"],
            item.get("purpose"),
            f"{item.get('gate')}{' (stale)' if item.get('stale') else ''}",
            item.get("sentence"),
        )
        for item in evaluations
    ]
    out.table(header, rows, empty="no evaluation yet")
    return 0


def _verdicts(args: argparse.Namespace, service: Service) -> list[dict[str, Any]]:
    if args.thing == "-" or args.thing.endswith(".json") or Path(args.thing).is_file():
        return [_posted(args, service)]
    evaluation = find_evaluation(args.thing, service)
    if evaluation is not None:
        if (args.suite or evaluation.get("suite")) != evaluation.get("suite"):
            raise UsageError(
                f"evaluation {args.thing} is on suite {evaluation.get('suite')}, not {args.suite}"
            )
        return [_current(evaluation, args.wait, service)]
    run = find_run(args.thing, args.project, service)
    listed = evaluations_of_run(
        run, args.suite, args.stage or (None if args.suite is None else "final"), service
    )
    return [
        _current(service.get(f"/evaluations/{item['evaluation']}"), args.wait, service) for item in listed
    ]


def _current(evaluation: dict[str, Any], seconds: float, service: Service) -> dict[str, Any]:
    """Wait a little for a stale verdict to be judged again against the champion of now."""
    deadline = time.monotonic() + seconds
    while evaluation.get("stale") and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        evaluation = service.get(f"/evaluations/{evaluation['evaluation']}")
    return evaluation


def _posted(args: argparse.Namespace, service: Service) -> dict[str, Any]:
    """Post the file's numbers as an evaluation of their own; the answer is its verdict."""
    content = _content(args.thing)
    suite = args.suite or content.get("suite")
    if not isinstance(suite, str) or not suite:
        raise UsageError("name the suite with --suite, or in the file")
    try:
        document = _document(content, suite, args.stage or content.get("stage") or "final")
    except (WrongCall, TypeError, AttributeError) as error:
        raise UsageError(f"{args.thing}: {error}") from None
    project = project_key(args.project, service)
    key = args.run or str(uuid4())
    role = "attach" if args.run and _exists(key, project, service) else "train"
    details = {name: content[name] for name in _RUN_MEMBERS if content.get(name) is not None}
    source = source_of(None, os.getcwd())
    handshake = {
        "attempt_id": str(uuid4()),
        "role": role,
        **({"git_commit": source["git_commit"]} if source["git_commit"] else {}),
        "environment": environment_of_machine(),
        **as_json(details),
        **({"name": args.name} if args.name else {}),
    }
    run = service.send("PUT", f"/projects/{segment(project)}/runs/{segment(key)}", handshake)
    verdict = service.send("PUT", f"/runs/{run['run_id']}/evaluations/{new_id()}", document)
    if role == "train":
        # The verdict is what was asked for; a token that may only post leaves the run's state alone.
        with contextlib.suppress(CommandError):
            service.send("PATCH", f"/runs/{run['run_id']}", {"status": "finished"})
    return verdict


def _document(content: Mapping[str, Any], suite: str, stage: str) -> dict[str, Any]:
    about = {name: content.get(name) for name in _ABOUT_MEMBERS}
    head = heading(
        suite,
        stage=stage,
        step=content.get("step"),
        purpose=content.get("purpose") or "candidate",
        metrics=content.get("metrics"),
        groups=list(content.get("groups") or ()) or None if content.get("tiers") else None,
        tiers=content.get("tiers"),
        about=about,
        info=content.get("info"),
    )
    cells = cells_of(content.get("values") or {}, content.get("groups"))
    if not cells:
        raise UsageError('the file holds no number; it looks like {"values": {"nrmse": 0.12}, "groups": {…}}')
    return posting_document(
        head,
        cells,
        stated=stated_document(**(content.get("stated") or {})),
        loss=loss_document(**(content.get("loss") or {})),
        info={},
        attempt_id=None,
    )


def _content(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read: {error}") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} holds no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f'{name} must hold an object such as {{"values": {{"nrmse": 0.12}}}}')
    if content and not _FILE_MEMBERS & set(content):
        # The plainest file of all: metric names and numbers.
        return {"values": content}
    unknown = sorted(set(content) - _FILE_MEMBERS)
    if unknown:
        raise UsageError(f'{name}: {", ".join(unknown)} mean nothing here; metrics go below "values"')
    return content


def _exists(key: str, project: str, service: Service) -> bool:
    try:
        find_run(key, project, service)
    except NotFound:
        return False
    return True
