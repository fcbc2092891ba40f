"""Verdicts as the service answers them, and a fake service that knows some."""

from __future__ import annotations

from typing import Any

from tests.client.fake_service import PROJECT_TOKEN, FakeService
from truerun.cli import main

EVALUATION = "01a1fb4a-4f72-78f4-a789-6ccb0dc219d5"
RUN = "01a1fb4a-0000-78f4-a789-6ccb0dc219d5"
EVIL = "x|y<script>alert(1)</script>\n::error::boom\x1b[2J\u202e`@team`"


def a_check(**members: Any) -> dict[str, Any]:
    return {
        "rule": "regression",
        "metric": "log2_mse",
        "group": "k=4,m=2",
        "outcome": "regressed",
        "required": True,
        "reason": None,
        "notes": ["single_seed"],
        "baseline": 0.103,
        "candidate": 0.405,
        "worsening": 2.932,
        "limit": 0.0103,
        "detail": {},
        **members,
    }


def a_verdict(gate: str = "closed", **members: Any) -> dict[str, Any]:
    return {
        "evaluation": EVALUATION,
        "run_id": RUN,
        "run": "run-6",
        "project": "codes",
        "suite": "heights-val",
        "suite_version": 1,
        "stage": "final",
        "step": 1200,
        "attempt": 1,
        "purpose": "candidate",
        "validity": "valid",
        "validity_reason": None,
        "gate": gate,
        "sentence": f"The gate is {gate}.",
        "baseline": {"evaluation": "b", "run": "run-2", "version": 3},
        "policy_version": 2,
        "assessment": 1,
        "stale": False,
        "checks": [
            a_check(group="k=6,m=3", outcome="improved", candidate=0.168, baseline=1.083, worsening=-0.8449),
            a_check(
                rule="gap",
                metric="loss",
                group=None,
                outcome="failed",
                required=False,
                worsening=None,
                limit=0.02,
            ),
            a_check(),
            a_check(
                rule="limit",
                group="overall",
                outcome="not_evaluated",
                reason="missing_metric",
                candidate=None,
            ),
        ],
        "aggregates": [
            {
                "metric": "log2_mse",
                "name": "worst",
                "value": 0.405,
                "baseline": 0.103,
                "worsening": 2.932,
                "groups_used": 9,
                "groups_total": 9,
                "left_out": {},
                "group": "k=4,m=2",
            },
            {
                "metric": "log2_mse",
                "name": "overall",
                "value": "NaN",
                "groups_used": 8,
                "groups_total": 9,
                "group": None,
            },
        ],
        "created_at": "2026-01-01T00:00:00Z",
        **members,
    }


def ask(service: FakeService, *arguments: str) -> int:
    return main([*arguments, "--url", service.url, "--token", PROJECT_TOKEN])


def offer(
    service: FakeService, *verdicts: dict[str, Any], listed: list[dict[str, Any]] | None = None
) -> None:
    """Make the service know these verdicts, as evaluations of one run."""
    for verdict in verdicts:
        service.routes[f"GET /evaluations/{verdict['evaluation']}"] = verdict
    service.routes["GET /me"] = {"project": "codes"}
    service.routes["GET /projects/codes/runs?key=run-6&limit=2"] = {
        "items": [{"key": "run-6", "run_id": RUN}]
    }
    items = [{**verdict, "is_latest": True} for verdict in verdicts] if listed is None else listed
    for query in ("", "suite=heights-val&stage=final&"):
        service.routes[f"GET /runs/{RUN}/evaluations?{query}limit=200"] = {
            "items": items,
            "next_cursor": None,
        }
