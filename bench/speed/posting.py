"""Posting an evaluation of 50 groups × 5 metrics and receiving its verdict."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from uuid import uuid4

from bench.speed.rows import Row, side_by_side
from bench.speed.service import Running

AIM_MS = 15.0
METRICS = ("mse", "rmse", "mae", "nrmse", "rel_l2")


def posting(service: Running, place: Path, *, posts: int = 300, groups: int = 50) -> Row:
    """A champion is there, each post is a run's first, and its answer carries every check.

    The floor is what no acknowledged write can do without on this disk: one small file written and fsynced.
    """
    project = "/api/v1/projects/posting"
    draw = random.Random(1)

    def run(key: str) -> str:
        opened = service.ask("PUT", f"{project}/runs/{key}", {"attempt_id": str(uuid4())})
        return str(opened["run_id"])

    def body(scale: float) -> bytes:
        values = [
            {"metric": metric, "group": f"g{i:02}", "value": scale * draw.uniform(0.95, 1.0), "n": 1000}
            for metric in METRICS
            for i in range(groups)
        ]
        return json.dumps({"suite": "posting", "values": values}).encode()

    champion = service.ask_raw("PUT", f"/api/v1/runs/{run('champion')}/evaluations/{uuid4()}", body(1.0))
    event = {
        "kind": "bootstrap",
        "evaluation": champion["evaluation"],
        "expected_version": 0,
        "reason": "to measure",
    }
    service.ask("POST", f"{project}/suites/posting/baseline/events", event)
    waiting = [(run(f"run-{i}"), body(1.0)) for i in range(posts + 3)]

    def post() -> None:
        run_id, sent = waiting.pop()
        verdict = service.ask_raw("PUT", f"/api/v1/runs/{run_id}/evaluations/{uuid4()}", sent, expect=(201,))
        if verdict["total_cells"] != len(METRICS) * groups:
            raise AssertionError(f"{verdict['total_cells']} cells were judged")

    times, floor = side_by_side([post, lambda: _fsynced(place / "floor")], posts)
    return Row(
        what=f"post {groups} groups × {len(METRICS)} metrics, answered with the verdict",
        measured=str(times),
        aim=f"p50 ≤ {AIM_MS:.0f} ms",
        floor=f"{times.p50 / floor.p50:.0f} × one fsync ({floor.p50:.2f} ms)",
        is_met=times.p50 <= AIM_MS,
    )


def _fsynced(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 8192)
        file.flush()
        os.fsync(file.fileno())
