"""What may be typed after `truerun import`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from truerun.cli import importing

_Add = Callable[..., argparse.ArgumentParser]


def add_commands(add: _Add, verbs: Any) -> None:
    _add_csv(add, verbs)
    board = add(
        "tensorboard", importing.import_tensorboard, "the runs of a directory of event files", within=verbs
    )
    board.add_argument("directory", metavar="LOGDIR")
    _called(board)
    _history(board)
    mlflow = add("mlflow", importing.import_mlflow, "the runs of an MLflow tracking server", within=verbs)
    mlflow.add_argument("source", metavar="URL", nargs="?", help="default: MLFLOW_TRACKING_URI")
    mlflow.add_argument("--experiment", action="append", default=[], metavar="NAME", help="default: all")
    _history(mlflow)
    _system(mlflow)
    wandb = add("wandb", importing.import_wandb, "the runs of a project of Weights & Biases", within=verbs)
    wandb.add_argument("source", metavar="ENTITY/PROJECT[/RUN]")
    _history(wandb)
    _system(wandb)


def _add_csv(add: _Add, verbs: Any) -> None:
    about = "histories from a CSV file; with --suite a leaderboard, one result a line"
    parser = add("csv", importing.import_csv, about, within=verbs)
    parser.add_argument("file", metavar="FILE.csv")
    parser.add_argument("--suite", help="the file is a leaderboard of this suite: run_id,…,metric:NAME…")
    for name, what in (
        ("step", "of steps (step, _step, global_step, iteration or epoch)"),
        ("time", "of times; without it the file's own stands for all"),
        ("run", "of the run a line belongs to; without it the file is one run"),
        ("metric", "of metrics' names, where a line is one point"),
        ("value", "of values, where a line is one point"),
    ):
        parser.add_argument(f"--{name}-column", metavar="NAME", help=f"the column {what}")
    _called(parser)
    _history(parser)


def _called(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as", dest="called", metavar="NAME", help="what the runs are named after (the file)"
    )


def _history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-group", metavar="NAME", help="for every run that is new")
    parser.add_argument("--tag", action="append", default=[], help="for every run that is new")
    parser.add_argument(
        "--unfinished", action="store_true", help="also runs that may still be training, as preempted"
    )
    parser.add_argument("--dry-run", action="store_true", help="read everything, send nothing")


def _system(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", action="store_true", help="also metrics of the machine")
