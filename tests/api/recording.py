"""Batches of records as a client sends them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from tests.api.calling import Caller

STREAM = UUID(int=1)


def opened(admin: Caller, key: str = "run", *, project: str = "burgers", **says: Any) -> tuple[str, str]:
    """(run id, attempt id) of a run's next attempt."""
    attempt_id = str(uuid4())
    run = admin.put(f"/projects/{project}/runs/{key}", {"attempt_id": attempt_id, **says})
    return run["run_id"], attempt_id


def points(first: int = 0, **metrics: list[Any]) -> dict[str, Any]:
    """A batch of records with these metrics, whose steps are their numbers."""
    count = len(next(iter(metrics.values())))
    return {
        "first": first,
        "count": count,
        "blocks": [a_block(first, metrics)],
        "logged": first + count,
    }


def a_block(first: int, metrics: dict[str, list[Any]], **says: Any) -> dict[str, Any]:
    count = len(next(iter(metrics.values())))
    return {
        "steps": {"start": first, "stride": 1},
        "times": [1_795_176_000.0 + first + i for i in range(count)],
        "metrics": metrics,
        **says,
    }


def others(first: int, *records: dict[str, Any]) -> dict[str, Any]:
    """A batch of records that are no points."""
    told = [{"idx": first + i, "time": 1_795_176_000.0, **record} for i, record in enumerate(records)]
    return {"first": first, "count": len(told), "other": told}


def send(
    admin: Caller, run_id: str, batch: dict[str, Any], *, stream: UUID = STREAM, status: int = 200
) -> Any:
    response = admin.send("POST", f"/runs/{run_id}/streams/{stream}/records", batch)
    assert response.status_code == status, (response.status_code, response.text)
    return response.json()
