"""Truerun's client: posts a training run's evaluations and asks whether they are true.

import truerun

run = truerun.init(project="burgers", config={"lr": 3e-4}, seed=42)
verdict = run.log_evaluation("burgers-val", {"nrmse": 0.12}, groups={"easy": {"nrmse": 0.10, "n": 1800}})
print(verdict.gate, verdict)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truerun.configuration import Config
    from truerun.guard import GroupGuard
    from truerun.manners import NotDelivered, TruerunError
    from truerun.meter import Meter
    from truerun.preemption import on_preempt
    from truerun.runs import Run
    from truerun.session import (
        alert,
        define_metric,
        evaluation,
        finish,
        init,
        log,
        log_evaluation,
        log_groups,
        log_image,
        log_ttc,
        stage,
        watch,
    )
    from truerun.summaries import RunSummary
    from truerun.verdict import Aggregate, Check, Verdict

    config: Config
    run: Run
    summary: RunSummary

__version__ = "0.1.0"
__all__ = [
    "Aggregate",
    "Check",
    "GroupGuard",
    "Meter",
    "NotDelivered",
    "Run",
    "TruerunError",
    "Verdict",
    "alert",
    "config",
    "define_metric",
    "evaluation",
    "finish",
    "init",
    "log",
    "log_evaluation",
    "log_groups",
    "log_image",
    "on_preempt",
    "log_ttc",
    "run",
    "stage",
    "summary",
    "watch",
]

_HOMES = {
    "init": "session",
    "evaluation": "session",
    "log_evaluation": "session",
    "log": "session",
    "log_groups": "session",
    "alert": "session",
    "define_metric": "session",
    "log_image": "session",
    "log_ttc": "session",
    "stage": "session",
    "finish": "session",
    "watch": "session",
    "on_preempt": "preemption",
    "GroupGuard": "guard",
    "Run": "runs",
    "Meter": "meter",
    "Verdict": "verdict",
    "Check": "verdict",
    "Aggregate": "verdict",
    "TruerunError": "manners",
    "NotDelivered": "manners",
}


def __getattr__(name: str) -> Any:
    # Everything is imported at first use, so that `import truerun` costs nothing worth measuring.
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"truerun.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in ("config", "run", "summary"):
        from truerun.session import current_run

        return current_run() if name == "run" else getattr(current_run(), name)
    raise AttributeError(f"module 'truerun' has no attribute {name!r}")
