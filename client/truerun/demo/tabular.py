"""Project `tabular`: six models × 15 seeds on six public tables, each seed a run of its own.

CatBoost against TabR is the pair that only the seeds tell apart: on california it is 7 % worse, which is within the
10 % that one run may lose and far beyond what 15 seeds of either stray.
"""

from __future__ import annotations

import time
from typing import Any

from truerun.cli.service import Service
from truerun.demo.records import ensure_champion, ensure_project, evaluations_of, post, rows_of

PROJECT = "tabular"
SUITE = "tables-test"
CHAMPION, CANDIDATE = "tabr-0", "catboost-0"
METRICS = {
    "california": "rmse", "diamond": "rmse", "house": "rmse", "black-friday": "rmse", "adult": "accuracy",
    "churn": "accuracy",
}  # fmt: skip
_WAIT_SECONDS = 60
_POLL_SECONDS = 0.2


def load(service: Service) -> bool:
    """Post the first seed of the pair, then all others; what is already there is not repeated.

    Returns:
        Whether anything had to be loaded.
    """
    rows = sorted(rows_of("tabular.csv"), key=_order)
    if evaluations_of(service, PROJECT, SUITE, _key(rows[-1])):
        return False
    ensure_project(service, PROJECT, "Tabular models")
    # Neither metric pools: a mean over dollars and ages says nothing.
    metrics = {
        metric: {"pooling": "none", "groups": [name for name in METRICS if METRICS[name] == metric]}
        for metric in ("rmse", "accuracy")
    }
    about = {"groups": [{"name": name} for name in METRICS], "dataset": "tables", "split": "test"}
    for row in rows:
        verdict = post(
            service,
            PROJECT,
            _key(row),
            suite=SUITE,
            values=[
                {"metric": metric, "group": name, "value": float(row[name])}
                for name, metric in METRICS.items()
            ],
            metrics=metrics,
            about=about,
            name=f"{row['model']}, seed {row['seed']}",
            run_group=row["model"],
            config={"model": row["model"], "seed": int(row["seed"])},
            seed=int(row["seed"]),
        )
        if _key(row) == CHAMPION:
            ensure_champion(service, PROJECT, SUITE, verdict["evaluation"], "the newest model's first seed")
    return True


def line(service: Service) -> str:
    """What one seed of CatBoost seemed to be, and what 15 say."""
    verdict = _settled(service)
    first = verdict["assessments"][-1]
    worst = max(
        (each for each in verdict["checks"] if each["outcome"] == "regressed"),
        key=lambda each: float(each["worsening"]),
    )
    seeds = worst["detail"]["seeds"]
    return (
        f"one seed of CatBoost against one of TabR: {first['gate']}. {seeds['candidate']} seeds against "
        f"{seeds['baseline']}: {verdict['gate']}, {worst['metric']} in {worst['group']} is "
        f"{100 * worst['worsening']:.1f} % worse, which is within the 10 % that one run may lose and no luck."
    )


def _settled(service: Service) -> dict[str, Any]:
    """CatBoost's verdict once every sibling counts in it; the worker judges in the background."""
    evaluation = evaluations_of(service, PROJECT, SUITE, CANDIDATE)[0]["evaluation"]
    deadline = time.monotonic() + _WAIT_SECONDS
    verdict = service.get(f"/evaluations/{evaluation}")
    while verdict["stale"] and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        verdict = service.get(f"/evaluations/{evaluation}")
    return verdict


def _order(row: dict[str, str]) -> tuple[bool, str, int]:
    """The pair's first seeds first, the champion's before the candidate's."""
    key = _key(row)
    return key not in (CHAMPION, CANDIDATE), "" if key == CHAMPION else row["model"], int(row["seed"])


def _key(row: dict[str, str]) -> str:
    return f"{row['model']}-{row['seed']}"
