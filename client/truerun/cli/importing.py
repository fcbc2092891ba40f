"""`truerun import wandb|mlflow|tensorboard|csv`: a team's past runs, with a report of what could not be brought."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from truerun.cli import exchange
from truerun.cli.exits import CLOSED, UNREACHABLE, UsageError
from truerun.cli.find import project_key
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.cli.text import visible
from truerun.importing import Importer, Outcome, Source, SourceError, Unavailable, document, lines
from truerun.importing.credentials import wandb_key
from truerun.importing.csv_files import Columns, CsvFile
from truerun.importing.mlflow import MlflowServer
from truerun.importing.origin import Origin
from truerun.importing.tensorboard import LogDirectory
from truerun.importing.wandb import WandbProject


def import_csv(args: argparse.Namespace, service: Service, out: Output) -> int:
    """With --suite a leaderboard, one evaluation a line; without it histories."""
    if args.suite is not None:
        return exchange.import_csv(args, service, out)
    columns = Columns(
        step=args.step_column,
        time=args.time_column,
        run=args.run_column,
        metric=args.metric_column,
        value=args.value_column,
    )
    return _brought(lambda: CsvFile(Path(args.file), columns, called=args.called), args, service, out)


def import_tensorboard(args: argparse.Namespace, service: Service, out: Output) -> int:
    return _brought(lambda: LogDirectory(Path(args.directory), called=args.called), args, service, out)


def import_mlflow(args: argparse.Namespace, service: Service, out: Output) -> int:
    def opened() -> Source:
        url = args.source or os.environ.get("MLFLOW_TRACKING_URI")
        if not url:
            raise SourceError("name the tracking server, or set MLFLOW_TRACKING_URI")
        user, password = (
            os.environ.get("MLFLOW_TRACKING_USERNAME"),
            os.environ.get("MLFLOW_TRACKING_PASSWORD"),
        )
        origin = Origin(
            url,
            bearer=os.environ.get("MLFLOW_TRACKING_TOKEN"),
            user=(user, password or "") if user else None,
        )
        return MlflowServer(origin, experiments=args.experiment, wants_system=args.system)

    return _brought(opened, args, service, out)


def import_wandb(args: argparse.Namespace, service: Service, out: Output) -> int:
    def opened() -> Source:
        parts = args.source.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise SourceError(f"{args.source!r} is not ENTITY/PROJECT or ENTITY/PROJECT/RUN")
        url = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
        key = wandb_key(url)
        origin = Origin(url, user=("api", key) if key else None)
        run = parts[2] if len(parts) == 3 else None
        return WandbProject(origin, parts[0], parts[1], run=run, wants_system=args.system)

    return _brought(opened, args, service, out)


def _brought(opened: Callable[[], Source], args: argparse.Namespace, service: Service, out: Output) -> int:
    importer = Importer(
        service.transport,
        project_key(args.project, service),
        run_group=args.run_group,
        tags=args.tag,
        wants_unfinished=args.unfinished,
        is_dry=args.dry_run,
    )
    try:
        source = opened()
        try:
            return bring(source, importer, out)
        finally:
            source.close()
    except SourceError as error:
        raise UsageError(str(error)) from None


def bring(source: Source, importer: Importer, out: Output) -> int:
    """Bring every run of a source and report.

    Exit 0 when everything that can be brought is here, 1 when a run was refused, 3 when the same has to be said again.

    Raises:
        SourceError: The source cannot be meant.
    """
    outcomes: list[Outcome] = []
    stopped = ""
    try:
        for past in source.runs():
            outcomes.append(importer.bring(past))
            if not out.as_json:
                out.lines([_line(outcomes[-1])])
    except Unavailable as error:
        stopped = str(error)
    if out.as_json:
        out.document(document(source.name, outcomes, source.tally, stopped=stopped))
    else:
        out.lines(map(visible, lines(outcomes, source.tally)))
    if stopped:
        out.note(f"stopped: {stopped}; the same command again goes on where it stopped")
        return UNREACHABLE
    return CLOSED if any(outcome.state == "refused" for outcome in outcomes) else 0


def _line(outcome: Outcome) -> str:
    said = f": {outcome.reason}" if outcome.reason else f", {outcome.points} points" if outcome.points else ""
    return visible(f"{outcome.key} ({outcome.name}): {outcome.state}{said}")
