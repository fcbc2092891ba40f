"""`truerun policy`: the project's rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from truerun.cli.exits import UsageError
from truerun.cli.find import project_path, segment
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import visible

_TOML, _JSON = "application/toml", "application/json"


def show_policy(args: argparse.Namespace, service: Service, out: Output) -> int:
    path = f"{project_path(args.project, service)}/policy"
    query = {} if args.version is None else {"version": args.version}
    if out.as_json:
        out.document(service.get(path, query))
    else:
        out.raw(service.text(path, {**query, "format": "toml"}))
    return 0


def put_policy(args: argparse.Namespace, service: Service, out: Output) -> int:
    content, kind = _content(args.file)
    answer = service.upload("PUT", f"{project_path(args.project, service)}/policy", content, kind)
    if out.as_json:
        out.document(answer)
    else:
        out.lines([f"policy version {answer.get('version')} holds from now on"])
        _warn(answer.get("warnings"), out)
    return 0


def preview_policy(args: argparse.Namespace, service: Service, out: Output) -> int:
    """What recent verdicts would be under a draft; changes nothing."""
    content, kind = _content(args.file)
    path = f"{project_path(args.project, service)}/policy/preview"
    answer = service.upload("POST", path, content, kind)
    if out.as_json:
        out.document(answer)
        return 0
    changed = answer.get("changed") or []
    out.lines([f"{len(changed)} of {answer.get('examined')} recent verdicts would change"])
    if changed:
        names = ("run", "suite", "stage", "gate_now", "gate_then", "sentence_then")
        out.lines([""])
        out.table(
            ("RUN", "SUITE", "STAGE", "NOW", "THEN", "BECAUSE"),
            [[item.get(name) for name in names] for item in changed],
        )
    _warn(answer.get("warnings"), out)
    return 0


def show_template(args: argparse.Namespace, service: Service, out: Output) -> int:
    text = service.text(f"/policy-templates/{segment(args.name)}")
    out.document({"name": args.name, "toml": text}) if out.as_json else out.raw(text)
    return 0


def init_policy(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Write a template to a file to begin with; never over another one."""
    text = service.text(f"/policy-templates/{segment(args.template)}")
    path = Path(args.output)
    try:
        with open(path, "w" if args.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists already; name another file with --output, or pass --force") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    if out.as_json:
        out.document({"file": str(path), "template": args.template})
    else:
        out.lines([visible(f"{path} is written; edit it, then: truerun policy preview {path}")])
    return 0


def _content(name: str) -> tuple[bytes, str]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    is_json = name.endswith(".json") or (name == "-" and content.lstrip().startswith(b"{"))
    return content, _JSON if is_json else _TOML


def _warn(warnings: object, out: Output) -> None:
    for warning in warnings if isinstance(warnings, list) else []:
        out.note(f"warning: {warning}")
