"""What the description of the API shows as a comparison: two runs, one key, one row."""

from __future__ import annotations

from typing import Any

_AT = "2026-01-31T18:00:00Z"


def _run(key: str, run_id: str, *, seed: int) -> dict[str, Any]:
    return {
        "run": key,
        "run_id": run_id,
        "name": key,
        "run_group": None,
        "status": "finished",
        "validity": "valid",
        "validity_reason": None,
        "archived_at": None,
        "tags": [],
        "seed": seed,
        "split_seeded": True,
        "git_commit": None,
        "git_dirty": None,
        "recipe": "7d9f3a52c1e04b6f8a90b1c2d3e4f506",
        "created_at": _AT,
    }


def _evaluation(evaluation: str, gate: str, sentence: str, *, champion: bool) -> dict[str, Any]:
    return {
        "evaluation": evaluation,
        "suite_version": 1,
        "attempt": 1,
        "step": 1200,
        "gate": gate,
        "sentence": sentence,
        "stale": False,
        "validity": "valid",
        "reason": None,
        "is_latest": True,
        "champion": champion,
        "created_at": _AT,
    }


def _cell(value: float, change: float | None, mark: str) -> dict[str, Any]:
    return {
        "value": value,
        "bound": "exact",
        "n": 600,
        "stderr": None,
        "change": change,
        "reason": None,
        "differing": [],
        "mark": mark,
    }


COMPARE_EXAMPLE: dict[str, Any] = {
    "project": "burgers",
    "runs": [
        _run("operator-3", "5b0c3a3e-6f1c-4d7e-8f57-3c1d0a2b4c5d", seed=1),
        _run("operator-4", "0c5e1f7a-2b3d-4e6f-9a81-b2c3d4e5f607", seed=1),
    ],
    "config": {
        "different": [
            {
                "key": "optimizer.lr",
                "kind": "recipe",
                "values": {"operator-3": 0.001},
                "absent": ["operator-4"],
            }
        ],
        "equal": 12,
        "same": None,
    },
    "seeds": [],
    "environment": {
        "different": [
            {
                "key": "determinism.cudnn_benchmark",
                "kind": "determinism",
                "values": {"operator-3": False, "operator-4": True},
                "absent": [],
            }
        ],
        "equal": 9,
        "same": None,
    },
    "suites": [
        {
            "suite": "burgers-val",
            "stage": "final",
            "base": "operator-3",
            "base_because": "champion",
            "evaluations": {
                "operator-3": _evaluation(
                    "01936b1e-0000-7000-8000-000000000002", "open", "Open.", champion=True
                ),
                "operator-4": _evaluation(
                    "01936b1e-0000-7000-8000-000000000004",
                    "closed",
                    "Closed: nrmse regressed in shock.",
                    champion=False,
                ),
            },
            "absent": [],
            "rows": [
                {
                    "metric": "nrmse",
                    "direction": "lower",
                    "unit": None,
                    "group": "shock",
                    "kind": "group",
                    "cells": {
                        "operator-3": _cell(0.25, None, "best"),
                        "operator-4": _cell(0.31, 0.24, "worst"),
                    },
                    "absent": [],
                }
            ],
            "against_champion": [],
        }
    ],
    "not_shared": [],
}
