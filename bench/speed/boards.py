"""The top 50 of a leaderboard of so many evaluations × 10 groups."""

from __future__ import annotations

from uuid import uuid4

import psycopg

from bench.speed.rows import Row, side_by_side
from bench.speed.service import BenchmarkFailed, Running

AIM_MS, AIM_GROWTH = 10.0, 1.5
GROUPS = 10

# One evaluation posted through the API, copied as often as it takes, each with a value of its own. The copies have
# every row that a board reads; what only a single evaluation's page shows (values, checks) they do without.
_COPY = """
WITH seed AS (
    SELECT e.project_id, e.suite_id, e.id AS evaluation_id, e.run_id
    FROM evaluation e JOIN run r ON r.project_id = e.project_id AND r.id = e.run_id
    WHERE r.key = 'seed' AND e.project_id = %(project)s
), ids AS MATERIALIZED (
    SELECT i, gen_random_uuid() AS run_id, gen_random_uuid() AS evaluation_id,
           0.1 + ((i * 7919) %% 1000003) / 1000003.0 AS factor
    FROM generate_series(1, %(count)s) AS i
), runs AS (
    INSERT INTO run SELECT (jsonb_populate_record(r, jsonb_build_object(
        'id', ids.run_id, 'key', 'copy-' || ids.i, 'name', 'copy ' || ids.i,
        'recipe', '\\x' || md5((ids.i / 5)::text)))).*
    FROM seed JOIN run r ON r.project_id = seed.project_id AND r.id = seed.run_id CROSS JOIN ids
), evaluations AS (
    INSERT INTO evaluation SELECT (jsonb_populate_record(e, jsonb_build_object(
        'id', ids.evaluation_id, 'run_id', ids.run_id))).*
    FROM seed JOIN evaluation e ON e.project_id = seed.project_id AND e.id = seed.evaluation_id CROSS JOIN ids
), assessments AS (
    INSERT INTO assessment SELECT (jsonb_populate_record(a, jsonb_build_object(
        'evaluation_id', ids.evaluation_id))).*
    FROM seed JOIN assessment a ON a.project_id = seed.project_id AND a.evaluation_id = seed.evaluation_id
    CROSS JOIN ids
)
INSERT INTO leaderboard_row SELECT (jsonb_populate_record(l, jsonb_build_object(
    'evaluation_id', ids.evaluation_id, 'run_id', ids.run_id, 'recipe', '\\x' || md5((ids.i / 5)::text),
    'value', l.value * ids.factor, 'sort_key', l.sort_key * ids.factor))).*
FROM seed JOIN leaderboard_row l ON l.project_id = seed.project_id AND l.evaluation_id = seed.evaluation_id
CROSS JOIN ids
"""


def fill(service: Running, database_url: str, count: int) -> str:
    """A project with so many evaluations; returns its key."""
    key = f"board-{count}"
    opened = service.ask("PUT", f"/api/v1/projects/{key}/runs/seed", {"attempt_id": str(uuid4())})
    values = [{"metric": "mse", "group": f"g{i}", "value": 1.0, "n": 1000} for i in range(GROUPS)]
    path = f"/api/v1/runs/{opened['run_id']}/evaluations/{uuid4()}"
    service.ask("PUT", path, {"suite": "board", "values": values})
    with psycopg.connect(database_url, autocommit=True) as connection:
        project = connection.execute("SELECT id FROM project WHERE key = %s", [key]).fetchone()
        if project is None:
            raise BenchmarkFailed(f"project {key} is not there")
        connection.execute(_COPY, {"project": project[0], "count": count - 1})
        connection.execute("VACUUM ANALYZE")
    service.close()
    return key


def boards(service: Running, database_url: str, *, counts: tuple[int, int], asked: int = 200) -> list[Row]:
    """Small and large asked in turn, over one connection, beside a request that reads nothing."""
    keys = [fill(service, database_url, count) for count in counts]

    def page(key: str, more: str = "") -> str:
        return f"/api/v1/projects/{key}/suites/board/leaderboard?limit=50{more}"

    for key in keys:
        _check(service.ask("GET", page(key))["items"])
    small, large, floor = side_by_side(
        [
            lambda: service.ask_raw("GET", page(keys[0])),
            lambda: service.ask_raw("GET", page(keys[1])),
            lambda: service.ask_raw("GET", "/healthz"),
        ],
        asked,
    )
    (by_recipe,) = side_by_side(
        [lambda: service.ask_raw("GET", page(keys[1], "&seeds=mean"))], max(5, asked // 20)
    )
    growth = large.p50 / small.p50
    return [
        Row(
            what=f"top 50 of {counts[1]:,} evaluations × {GROUPS} groups, rows=runs",
            measured=str(large),
            aim=f"p50 ≤ {AIM_MS:.0f} ms",
            floor=f"{large.p50 / floor.p50:.1f} × GET /healthz ({floor.p50:.1f} ms)",
            is_met=large.p50 <= AIM_MS,
        ),
        Row(
            what=f"the same from {counts[0]:,} to {counts[1]:,} evaluations",
            measured=f"{growth:.2f} ×",
            aim=f"≤ {AIM_GROWTH} ×",
            is_met=growth <= AIM_GROWTH,
        ),
        Row(
            what=f"top 50 recipes of {counts[1]:,} evaluations, seeds=mean",
            measured=str(by_recipe),
            floor=f"{by_recipe.p50 / large.p50:.0f} × rows=runs",
        ),
    ]


def _check(items: list[dict[str, float]]) -> None:
    values = [item["value"] for item in items]
    if len(values) < 2 or values != sorted(values):
        raise BenchmarkFailed(f"the board is not in order: {values[:5]}")
