"""`truerun runs`, `invalidate`, `restore`."""

from __future__ import annotations

import argparse
from typing import Any

from truerun.cli.exits import UsageError
from truerun.cli.find import find_evaluation, find_run, project_path
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import moment


def list_runs(args: argparse.Namespace, service: Service, out: Output) -> int:
    query: dict[str, Any] = {
        name: value
        for name in ("status", "tag", "run_group", "validity", "sort")
        if (value := getattr(args, name)) is not None
    }
    if args.archived:
        query["archived"] = "true"
    for pair in args.config or ():
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UsageError(f"--config takes key=value, not {pair!r}")
        query[f"config.{key}"] = value
    items = service.items(f"{project_path(args.project, service)}/runs", query, limit=args.limit)
    if out.as_json:
        out.document({"items": items})
        return 0
    rows = [
        (
            item.get("key"),
            item.get("name") or "-",
            item.get("status"),
            item.get("validity"),
            item.get("run_group") or "-",
            "-" if item.get("seed") is None else item["seed"],
            ", ".join(str(tag) for tag in item.get("tags") or []) or "-",
            moment(item.get("created_at")),
        )
        for item in items
    ]
    out.table(
        ("RUN", "NAME", "STATUS", "VALIDITY", "RUN GROUP", "SEED", "TAGS", "CREATED"), rows, empty="no run"
    )
    return 0


def invalidate(args: argparse.Namespace, service: Service, out: Output) -> int:
    body = {"reason": args.reason, **({"suspect": True} if args.suspect else {})}
    return _change_validity(args, "invalidate", body, service, out)


def restore(args: argparse.Namespace, service: Service, out: Output) -> int:
    return _change_validity(args, "restore", {"reason": args.reason}, service, out)


def _change_validity(
    args: argparse.Namespace, verb: str, body: dict[str, Any], service: Service, out: Output
) -> int:
    evaluation = find_evaluation(args.thing, service)
    if evaluation is not None:
        what, path = f"evaluation {evaluation['evaluation']}", f"/evaluations/{evaluation['evaluation']}"
    else:
        run = find_run(args.thing, args.project, service)
        what, path = f"run {run.get('key')}", f"/runs/{run['run_id']}"
    answer = service.send("POST", f"{path}/{verb}", body)
    if out.as_json:
        out.document(answer)
    else:
        out.lines([f"{what} is {answer.get('validity', verb + 'd')} now"])
    return 0
