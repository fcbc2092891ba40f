"""`truerun token`, `whoami`, `config`: who asks, and where."""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone

from truerun.cli.alerts import moment_of
from truerun.cli.find import find_run, project_key
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import moment, visible
from truerun.places import local_file, spool_root
from truerun.spool import writers


def create_token(args: argparse.Namespace, service: Service, out: Output) -> int:
    project = None if args.role == "admin" else project_key(args.project, service)
    expires_at = moment_of(args.expires, datetime.now(timezone.utc)) if args.expires else None
    run = find_run(args.run, project, service)["run_id"] if args.run else None
    body = {"project": project, "role": args.role, "label": args.label, "expires_at": expires_at, "run": run}
    answer = service.send("POST", "/tokens", body)
    if out.as_json:
        out.document(answer)
        return 0
    # Alone on standard output, so that it can be piped into a secret store.
    out.lines([str(answer.get("token"))])
    out.note(f"token {answer.get('prefix')}… ({args.role}); it is shown this once and kept nowhere")
    return 0


def list_tokens(args: argparse.Namespace, service: Service, out: Output) -> int:
    query = {"project": args.project} if args.project else {}
    items = service.items("/tokens", query)
    if out.as_json:
        out.document({"items": items})
        return 0
    header = ("TOKEN", "PREFIX", "ROLE", "PROJECT", "LABEL", "CREATED", "EXPIRES", "LAST USED")
    rows = [
        (
            item.get("id"),
            item.get("prefix"),
            item.get("role"),
            item.get("project") or "-",
            item.get("label") or "-",
            moment(item.get("created_at")),
            "revoked" if item.get("revoked_at") else moment(item.get("expires_at")),
            moment(item.get("last_used_at")),
        )
        for item in items
    ]
    out.table(header, rows, empty="no token")
    return 0


def revoke_token(args: argparse.Namespace, service: Service, out: Output) -> int:
    service.delete(f"/tokens/{args.token_id}")
    out.document({"revoked": args.token_id}) if out.as_json else out.lines(
        [visible(f"token {args.token_id} opens nothing any more")]
    )
    return 0


def whoami(_args: argparse.Namespace, service: Service, out: Output) -> int:
    me = service.get("/me")
    if out.as_json:
        out.document(me)
        return 0
    names = ("name", "role", "project", "run", "expires_at")
    out.table(
        ("", "AT " + str(service.settings.url)),
        [(name, me[name]) for name in names if me.get(name) is not None],
    )
    return 0


def show_config(args: argparse.Namespace, service: Service, out: Output) -> int:
    """What the client would do here, found without asking anybody."""
    settings = service.settings
    root = spool_root()
    facts = {
        "url": settings.url,
        "url_from": settings.url_from,
        "token_from": settings.token_from,
        "project": args.project or os.environ.get("TRUERUN_PROJECT"),
        "mode": settings.mode,
        "local_file": str(local_file()),
        "spool": str(root),
        "spooled_runs": len(writers(root)),
    }
    if out.as_json:
        out.document({**facts, "complaints": list(settings.complaints)})
        return 0
    out.table(
        ("SETTING", "VALUE"), [(name, "-" if value is None else value) for name, value in facts.items()]
    )
    for complaint in settings.complaints:
        out.note(complaint)
    return 0
