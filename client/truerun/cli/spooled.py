"""`truerun sync`: send what processes left behind, or recorded offline."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from truerun.cli.exits import CLOSED, UNREACHABLE, Unreachable, UsageError
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import visible
from truerun.places import spool_root
from truerun.spool import writers
from truerun.sync import Report, deliver_directory, open_leftover, tidy
from truerun.transport import Transport


def sync(args: argparse.Namespace, service: Service, out: Output) -> int:
    """Exit 0 when nothing is left, 1 when something was refused for good, 3 when something still waits."""
    root = Path(args.directory) if args.directory else spool_root()
    if args.directory and not root.is_dir():
        raise UsageError(f"{root} is no directory")
    try:
        tidy(root, now=time.time())
    except OSError as error:
        out.note(f"{root} could not be tidied up: {error}")
    directories = writers(root)
    if args.directory and not directories:
        raise UsageError(f"{root} holds nothing that truerun has written")
    reports = [_synced(directory, args, service) for directory in directories]
    if out.as_json:
        out.document({"items": [_document(report) for report in reports]})
    else:
        for report in reports:
            _tell(report, out)
        if not reports:
            out.note(f"nothing waits in {root}")
    if any(report.state in ("waiting", "elsewhere") for report in reports):
        return UNREACHABLE
    return CLOSED if any(report.rejected or report.state == "damaged" for report in reports) else 0


def _synced(directory: Path, args: argparse.Namespace, service: Service) -> Report:
    opened = open_leftover(directory)
    if isinstance(opened, Report):
        return opened
    spool, record = opened
    left = len(spool.pending())
    transport: Transport | None = None
    try:
        settings = service.settings
        url = settings.url or record.url
        if url is None:
            raise Unreachable(
                "no address is known: set TRUERUN_URL, pass --url, or start a server on this machine"
            )
        if record.url not in (None, url) and not args.url:
            return Report(
                directory=directory,
                run=record.run_key,
                project=record.project,
                state="elsewhere",
                reason=f"it was meant for {record.url}, not {url}; --url says where it shall go",
                left=left,
            )
        report = Report(directory=directory, run=record.run_key, project=record.project, left=left)
        transport = Transport(url, settings.token)
        for report in deliver_directory(spool, record, transport):  # noqa: B007 - the last one counts
            pass
        return report
    except OSError as error:
        return Report(directory=directory, run=record.run_key, state="damaged", reason=str(error), left=left)
    finally:
        spool.unlock()
        if transport is not None:
            transport.close()


def _tell(report: Report, out: Output) -> None:
    done = f"{report.accepted} sent"
    done += f", {report.rejected} refused" if report.rejected else ""
    done += f", {report.left} waiting" if report.left else ""
    name = f"run {report.run} of project {report.project}" if report.run else str(report.directory)
    reason = f" ({report.state}: {report.reason})" if report.reason else ""
    out.lines([visible(f"{name}: {done}{reason}")])
    for refusal in report.refusals:
        out.lines([visible(f"  refused: {refusal}")])
    if report.rejected:
        out.lines([visible(f"  kept in {report.directory / 'rejected'}")])


def _document(report: Report) -> dict[str, object]:
    return {
        "directory": str(report.directory),
        "run": report.run,
        "project": report.project,
        "state": report.state,
        "reason": report.reason,
        "accepted": report.accepted,
        "rejected": report.rejected,
        "waiting": report.left,
        "refusals": report.refusals,
    }
