"""Batches of records as a client sends them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg

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


def stored(sql: psycopg.Connection[Any], run_id: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each series, by record."""
    rows = sql.execute(
        """
        SELECT concat_ws('/', nullif(m.stage, ''), nullif(m.split, ''), nullif(m.group_name, ''), m.name), b.step_start,
               b.step_stride, b.steps, c."values"
        FROM metric_chunk c JOIN record_block b ON b.run_id = c.run_id AND b.id = c.block_id
        JOIN metric_series m ON m.run_id = c.run_id AND m.id = c.series_id
        WHERE c.run_id = %s ORDER BY b.first_idx, b.id
        """,
        (run_id,),
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for name, start, stride, steps, values in rows:
        listed = steps or [start + i * stride for i in range(len(values))]
        found.setdefault(name, []).extend(zip(listed, values, strict=True))
    return {name: sorted(pairs, key=lambda pair: pair[0]) for name, pairs in found.items()}


def summary(sql: psycopg.Connection[Any], run_id: str, name: str, attempt: int = 1) -> tuple[Any, ...] | None:
    return sql.execute(
        """
        SELECT s.count, s.non_finite, s.first_value, s.last_value, s.min_value, s.min_step, s.max_value, s.max_step
        FROM metric_summary s JOIN metric_series m ON m.run_id = s.run_id AND m.id = s.series_id
        WHERE s.run_id = %s AND m.name = %s AND s.attempt = %s
        """,
        (run_id, name, attempt),
    ).fetchone()


def books(sql: psycopg.Connection[Any]) -> tuple[int, ...]:
    """(next_idx, stored, rejected, gaps, logged) of the one stream."""
    rows = sql.execute("SELECT next_idx, stored, rejected, gaps, logged FROM stream").fetchall()
    assert len(rows) == 1
    found: tuple[int, ...] = rows[0]
    return found
