"""Taking, keeping and reading a run's history: over HTTP, beside the raw insert of the same rows."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import numpy as np
import psycopg

from app.db.arrays import Doubles
from app.db.engine import make_engine, session_factory
from app.worker.compacting import Compactor
from bench.speed.rows import Row, side_by_side, timed
from bench.speed.service import BenchmarkFailed, Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Batches of one kind.

    Args:
        aim: Points a second, by one API process.
    """

    metrics: int
    steps: int
    runs: int
    batches: int
    aim: float | None = None

    @property
    def points(self) -> int:
        return self.metrics * self.steps

    def __str__(self) -> str:
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.metrics} metrics × {self.steps} steps a request, {runs}"


SHAPES = (
    Shape(metrics=10, steps=10, runs=1, batches=300),
    Shape(metrics=20, steps=100, runs=1, batches=300, aim=600_000),
    Shape(metrics=20, steps=100, runs=8, batches=320),
    Shape(metrics=20, steps=100, runs=64, batches=320),
    Shape(metrics=50, steps=1000, runs=1, batches=40, aim=2_000_000),
)
QUICK_SHAPES = (Shape(metrics=3, steps=5, runs=2, batches=6),)


def histories(
    service: Running, database_url: str, *, shapes: tuple[Shape, ...], points: int, runs: int
) -> list[Row]:
    """Rows for ingest, size and reads.

    Args:
        points: How long the history is that is read.
        runs: How many runs are listed by a metric.
    """
    rows = [_ingest(service, database_url, shape) for shape in shapes]
    rows += _reads(service, database_url, points)
    rows.append(_list(service, database_url, runs))
    return rows


def _batch(shape: Shape, first: int, seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    steps = np.arange(first, first + shape.steps)
    return json.dumps(
        {
            "first": first,
            "count": shape.steps,
            "logged": first + shape.steps,
            "blocks": [
                {
                    "steps": {"start": int(steps[0]), "stride": 1},
                    "times": (1.795e9 + steps * 0.013).tolist(),
                    "metrics": {
                        f"metric_{i}": draw.normal(size=shape.steps).tolist() for i in range(shape.metrics)
                    },
                }
            ],
        }
    ).encode()


def _ingest(service: Running, database_url: str, shape: Shape) -> Row:
    """Points acknowledged a second, and the raw insert of as many chunks of the same size in the same minute."""
    each = shape.batches // shape.runs
    work = []
    for i in range(shape.runs):
        key = f"ingest-{shape.metrics}-{shape.steps}-{shape.runs}-{i}"
        run = service.ask("PUT", f"/api/v1/projects/history/runs/{key}", {"attempt_id": str(uuid4())})
        path = f"/api/v1/runs/{run['run_id']}/streams/{uuid4()}/records"
        work.append((path, [_batch(shape, j * shape.steps, 1000 * i + j) for j in range(each)]))
    # As many connections at once as there are runs, up to the cores that there are for such a load.
    threads = [threading.Thread(target=_send, args=(service, work[i::4])) for i in range(min(4, shape.runs))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    rate = shape.points * each * shape.runs / seconds
    raw = _raw_rate(database_url, shape)
    return Row(
        what=f"records taken: {shape}",
        measured=f"{rate / 1e6:.2f} million points/s, a request in {1000 * seconds / (each * shape.runs):.1f} ms",
        aim="" if shape.aim is None else f"≥ {shape.aim / 1e6:.1f} million",
        floor=f"{rate / raw:.2f} × raw insert of the same rows ({raw / 1e6:.2f} million/s)",
        is_met=None if shape.aim is None else rate >= shape.aim,
    )


def _send(service: Running, work: list[tuple[str, list[bytes]]]) -> None:
    parts = urlsplit(service.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"Authorization": f"Bearer {service.token}", "Content-Type": "application/json"}
    for batches in zip(*(batches for _, batches in work), strict=True):
        for (path, _), body in zip(work, batches, strict=True):
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise BenchmarkFailed(f"{path}: {answer.status} {content[:200]!r}")
    connection.close()


def _raw_rate(database_url: str, shape: Shape) -> float:
    """Points a second when chunks of the same size are inserted by the driver alone.

    On one connection, with a synchronous commit for each batch, as a service that acknowledges each must do.
    """
    place, values = UUID(int=9), Doubles(np.random.default_rng(1).normal(size=shape.steps))
    count = max(5, shape.batches // 2)
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        began = time.perf_counter()
        for block in range(count):
            with connection.transaction(), connection.pipeline():
                for series in range(shape.metrics):
                    connection.execute(
                        'INSERT INTO metric_chunk (project_id, run_id, series_id, block_id, "values") '
                        "VALUES (%s, %s, %s, %s, %s)",
                        (place, place, series, -1 - block, values),
                    )
        seconds = time.perf_counter() - began
        connection.execute("DELETE FROM metric_chunk WHERE project_id = %s", (place,))
    return shape.points * count / seconds


def _reads(service: Running, database_url: str, points: int) -> list[Row]:
    """One long history: its size before and after compaction, and reading it for a screen."""
    shape = Shape(metrics=10, steps=100, runs=1, batches=points // 100)
    run = service.ask("PUT", "/api/v1/projects/history/runs/long", {"attempt_id": str(uuid4())})
    path = f"/api/v1/runs/{run['run_id']}/streams/{uuid4()}/records"
    before = _sizes(database_url)
    _send(service, [(path, [_batch(shape, j * shape.steps, j) for j in range(shape.batches)])])
    held = shape.points * shape.batches
    loose = (_sizes(database_url) - before) / held
    engine = make_engine(database_url)
    try:
        compactor = Compactor(sessions=session_factory(engine))
        compactor.idle = -compactor.idle
        while compactor.step():
            pass
    finally:
        engine.dispose()
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        for table in _TABLES:
            connection.execute(f"VACUUM (FULL, ANALYZE) {table}")
    whole = _sizes(database_url)
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        total = connection.execute('SELECT sum(cardinality("values")) FROM metric_chunk').fetchone()
    packed = whole / (total[0] if total and total[0] else held)
    # What came before takes longer on a slow machine than a connection may rest.
    service.close()
    read = timed(
        lambda: service.ask("GET", f"/api/v1/runs/{run['run_id']}/history?metric=metric_1&max_points=2000"),
        20,
    )
    return [
        Row(what=f"bytes a point as they arrive, {shape}", measured=f"{loose:.1f} B"),
        Row(
            what="bytes a point after compaction, indexes and all, every history of this run",
            measured=f"{packed:.1f} B",
            aim="≤ 10 B",
            is_met=packed <= 10.0,
        ),
        Row(
            what=f"{shape.steps * shape.batches:,} points read as 2,000",
            measured=str(read),
            aim="≤ 60 ms",
            is_met=read.p50 <= 60.0,
        ),
    ]


_TABLES = ("metric_chunk", "record_block")


def _sizes(database_url: str) -> int:
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(%s::text[]) AS t", (list(_TABLES),)
        ).fetchone()
    return int(row[0]) if row else 0


def _list(service: Running, database_url: str, count: int) -> Row:
    """The first page of many runs by a metric's lowest value, with its summary."""
    service.ask("POST", "/api/v1/projects", {"key": "many"})
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute(
            """
            WITH made AS (
                INSERT INTO run (project_id, id, key, name, status, config, tags, notes, environment, recipe,
                                 newest_attempt, validity, created_at, created_by, updated_at)
                SELECT p.id, gen_random_uuid(), 'r' || i, 'r' || i, 'finished', '{}', '{}', '', '{}', ''::bytea, 1,
                       'valid', now(), 'bench', now()
                FROM project p, generate_series(1, %s) i WHERE p.key = 'many' RETURNING project_id, id
            ), series AS (
                INSERT INTO metric_series (project_id, run_id, name, group_name, stage, split, rank)
                SELECT project_id, id, 'm' || j, '', '', '', 0 FROM made, generate_series(1, 10) j
                RETURNING project_id, run_id, id
            )
            INSERT INTO metric_summary (project_id, run_id, attempt, series_id, count, non_finite, first_step,
                                        first_value, last_step, last_value, min_step, min_value, max_step, max_value)
            SELECT project_id, run_id, 1, id, 100, 0, 0, random(), 99, random(), 5, random(), 6, random() FROM series
            """,
            (count,),
        )
        connection.commit()
        connection.execute("ANALYZE run, metric_series, metric_summary")
    listed, plain = side_by_side(
        [
            lambda: service.ask("GET", "/api/v1/projects/many/runs?sort=min:m3&metric=m3&metric=m4&limit=50"),
            lambda: service.ask("GET", "/api/v1/projects/many/runs?limit=50"),
        ],
        20,
    )
    return Row(
        what=f"50 of {count:,} runs by a metric's lowest value, with summaries",
        measured=str(listed),
        floor=f"{listed.p50 / plain.p50:.1f} × by time ({plain.p50:.1f} ms)",
    )
