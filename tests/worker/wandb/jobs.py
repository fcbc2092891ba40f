"""Builders of jobs and runners: each test says only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from app.worker.wandb_jobs.job import Alert, Job, alert, bars, histogram, lines, scalars, table
from app.worker.wandb_jobs.order import Limits, Mode, Target
from app.worker.wandb_jobs.runner import Runner
from app.worker.wandb_jobs.values import Kind
from tests.worker.wandb.standin import Standin

WORSE = alert("run-6: 1 of 2 groups regressed (heights-val)", "https://ours/e/1\nk=4,m=2: worse", "ERROR")
ALERTS = (WORSE, alert("run-6: 1 limit not met (heights-val)", "conservation_gap: above", "WARN"))
# A busy machine is slow to start a Python; what is short here is only how long wandb tries again.
LIMITS = Limits(request_seconds=2.0, retries=1, shortest_wait_seconds=0.1, longest_wait_seconds=0.2)


def a_table(name: str = "regression/comparison", *rows: tuple[object, ...]) -> Any:
    kinds = {"Status": Kind.TEXT, "Group": Kind.TEXT, "Worsening": Kind.NUMBER, "Required": Kind.FLAG}
    return table(
        name, kinds, rows or [("regressed", "k=4,m=2", 2.93, True), ("pass", "k=1,m=1", None, False)]
    )


def a_job(run_id: str = "eval-1", *, rev: int = 1, alerts: tuple[Alert, ...] = ALERTS, **others: Any) -> Job:
    """One of everything."""
    whole = Job(
        run_id=run_id,
        rev=rev,
        name="eval-run-6-heights-val",
        job_type="evaluation",
        group="run-6",
        tags=("evaluation", "gate:closed"),
        config={"source": "https://ours/e/1", "step": 1200},
        scalars=scalars(
            {"regression/status": "regressed", "leaderboard/metric_mse": 0.25, "ttc/best": float("nan")}
        ),
        tables=(a_table(),),
        bars=(
            bars("physics/violations", "Limits not met", "metric", "violations", [("gap", 2), ("mass", 0)]),
        ),
        lines=(
            lines("ttc/reward_trajectory", "Reward", "step", [0, 1], {"chosen": [1, 2], "mean": [0.5, 1]}),
        ),
        histograms=(histogram("ttc/reward_distribution", "Rewards", "reward", [1.0, 2.0, 2.0]),),
        alerts=alerts,
    )
    return replace(whole, **others)


def a_small_job(run_id: str = "eval-1", *, rev: int = 1, **others: Any) -> Job:
    """One table, one alert: what a fault needs."""
    few: dict[str, Any] = {"alerts": (WORSE,), "bars": (), "lines": (), "histograms": ()}
    return a_job(run_id, rev=rev, **few | others)


def a_target(standin: Standin, mode: Mode = Mode.ONLINE) -> Target:
    return Target(base_url=standin.url, entity="team", project="burgers", mode=mode)


def a_runner(
    place: Path, standin: Standin, limits: Limits = LIMITS, environ: Mapping[str, str] | None = None
) -> Runner:
    return Runner(place=place, allowed=frozenset({standin.url}), limits=limits, environ=environ or {})


def processes_of(place: Path) -> list[list[str]]:
    """The command lines of all that still runs for a job below that place."""
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except psutil.Error:
            continue
        if any(str(place) in each for each in arguments):
            found.append(arguments)
    return found


def leftovers(place: Path) -> list[str]:
    """Directories of jobs that are still there."""
    return sorted(str(each.relative_to(place)) for each in place.glob("online/*"))
