"""One call with ten numbers, by our client and by other trackers', each program run in turn (PEERS=1)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.speed.environments import NotInstallable, environment
from bench.speed.rows import Row
from bench.speed.service import PATIENCE_SECONDS, BenchmarkFailed, Running

ROOT = Path(__file__).parents[3]
# What a tracker would tell its makers, and what it would look for on the network.
SILENT = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Args:
    calls: Of each of the two runs that a program logs.
    seconds: After so long a run is short of its calls.
    rounds: How often each program runs, all of them in turn.
    """

    calls: int = 5_000
    seconds: float = 5.0
    rounds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Args:
    call: As the table calls it.
    program: Of `programs`.
    packages: Pinned; none for our own environment.
    """

    call: str
    program: str
    packages: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a program measured: of one call at a training's pace, and of a run as fast as it is taken."""

    p50_us: float
    p99_us: float
    points_per_second: float


MLFLOW = ("mlflow==3.17.0", "psycopg2-binary==2.9.13")


def ours(service: Running) -> Tracker:
    environ = {"TRUERUN_URL": service.url, "TRUERUN_TOKEN": service.token, "TRUERUN_MODE": "online"}
    return Tracker(call="truerun: log()", program="log_truerun", environ=environ)


def others(mlflow_url: str | None) -> list[Tracker]:
    """The other trackers, each of them as its manual begins; MLflow's several calls only where it has a server."""
    calls = ("log_metric, ten a step", "log_metrics", "log_metric, ten a step, async", "log_metrics, async")
    return [
        *(
            Tracker(
                call=f"mlflow 3.17.0: {call}",
                program="log_mlflow",
                packages=MLFLOW,
                arguments=(call,),
                environ={"MLFLOW_TRACKING_URI": mlflow_url},
            )
            for call in calls
            if mlflow_url is not None
        ),
        Tracker(call="aim 3.29.1: track(), local", program="log_aim", packages=("aim==3.29.1",)),
        Tracker(call="wandb 0.31.0: log(), offline", program="log_wandb", packages=("wandb==0.31.0",)),
        Tracker(call="trackio 0.43.0: log(), local", program="log_trackio", packages=("trackio==0.43.0",)),
    ]


def log_calls(first: Tracker, rest: Sequence[Tracker], place: Path, size: Size) -> list[Row]:
    """A row a tracker, `first` above; every program is run in each round, so that a busy minute meets all of them.

    Raises:
        BenchmarkFailed: A program failed, or what it logged cannot be read back.
    """
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for tracker in (first, *rest):
        try:
            pythons[tracker.call] = (
                environment(tracker.packages) if tracker.packages else Path(sys.executable)
            )
        except NotInstallable as error:
            missing[tracker.call] = str(error)
    taken: dict[str, list[Taken]] = {call: [] for call in pythons}
    for i in range(size.rounds):
        for j, tracker in enumerate((first, *rest)):
            if tracker.call in pythons:
                own = place / f"peer-{i}-{j}"
                own.mkdir()
                taken[tracker.call].append(measured(pythons[tracker.call], tracker, own, size))
    yardstick = _middle(taken[first.call])
    return [
        _absent(tracker.call, missing[tracker.call])
        if tracker.call in missing
        else _row(tracker.call, _middle(taken[tracker.call]), None if tracker is first else yardstick)
        for tracker in (first, *rest)
    ]


def measured(python: Path, tracker: Tracker, place: Path, size: Size) -> Taken:
    """Run a program once, in an empty directory of its own.

    Raises:
        BenchmarkFailed: It failed, or points that it logged are not there.
    """
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    home = {"HOME": str(place), "XDG_STATE_HOME": str(place), "TRACKIO_DIR": str(place / "trackio")}
    ended = subprocess.run(
        [str(python), "-P", "-m", f"bench.speed.peers.programs.{tracker.program}", str(place), str(size.calls),
         str(size.seconds), *tracker.arguments],
        env={**kept, **home, **SILENT, "PYTHONPATH": str(ROOT), **tracker.environ},
        cwd=place, capture_output=True, text=True, check=False, timeout=4 * size.seconds + 3 * PATIENCE_SECONDS,
    )  # fmt: skip
    if ended.returncode:
        raise BenchmarkFailed(f"{tracker.call}: ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return taken_from(ended.stdout, call=tracker.call)


def taken_from(output: str, *, call: str) -> Taken:
    """What a program printed.

    Raises:
        BenchmarkFailed: It printed no measurement, or points that it logged cannot be read back.
    """
    said = [line for line in output.splitlines() if line.startswith("{")]
    if not said:
        raise BenchmarkFailed(f"{call}: no measurement in {output[-500:]!r}")
    found = json.loads(said[-1])
    if found["readable"] != found["logged"]:
        raise BenchmarkFailed(f"{call}: of {found['logged']} points {found['readable']} can be read back")
    return Taken(p50_us=found["p50_us"], p99_us=found["p99_us"], points_per_second=found["points_per_second"])


def _middle(several: Sequence[Taken]) -> Taken:
    return Taken(
        p50_us=statistics.median(each.p50_us for each in several),
        p99_us=statistics.median(each.p99_us for each in several),
        points_per_second=statistics.median(each.points_per_second for each in several),
    )


def _row(call: str, taken: Taken, yardstick: Taken | None) -> Row:
    beside = ""
    if yardstick is not None:
        beside = (
            f"{_few(taken.p50_us / yardstick.p50_us)} × our time of a call, "
            f"{_few(taken.points_per_second / yardstick.points_per_second)} × our points/s, in turn"
        )
    return Row(
        what=f"{call}, 10 numbers a step",
        measured=(
            f"p50 {_few(taken.p50_us)} µs, p99 {_few(taken.p99_us)} µs; "
            f"{_few(taken.points_per_second)} points/s until all can be read"
        ),
        floor=beside,
    )


def _absent(call: str, why: str) -> Row:
    return Row(what=f"{call}, 10 numbers a step", measured="cannot be installed here", floor=why[:200])


def _few(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"
