"""MLflow's server on our Postgres: its search of the top 50 runs by a metric, beside our board (PEERS=1)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.speed.guardian import ended_with_us
from bench.speed.peers.calls import MLFLOW, SILENT
from bench.speed.rows import Row, side_by_side
from bench.speed.service import PATIENCE_SECONDS, BenchmarkFailed, Running

METRICS = 10

# MLflow's own tables, filled as its client would; one by one over its API this would take hours.
_FILL = """
WITH ids AS MATERIALIZED (
    SELECT i, md5('run' || i) AS run_uuid, ((i * 7919) %% 1000003) / 1000003.0 AS factor
    FROM generate_series(1, %(count)s) AS i
), runs AS (
    INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,
                      artifact_uri, experiment_id)
    SELECT run_uuid, 'run ' || i, 'LOCAL', 'bench', 'FINISHED', 1, 2, 'active', 'file:///nowhere', 0 FROM ids
)
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
SELECT 'm' || m, factor * (m + 1), 1, 0, false, run_uuid FROM ids CROSS JOIN generate_series(0, %(last)s) AS m
"""


def database_of(database_url: str) -> str:
    """A database for MLflow beside ours, made here."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow")
    return database_url.replace("/truerun?", "/mlflow?", 1)


def mlflow_search(service: Running, url: str, database_url: str, *, board: str, count: int) -> Row:
    """Its search and our board, asked in turn.

    Args:
        url: Of MLflow's server, whose database gets as many runs as our project has evaluations.
        board: Key of that project.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL, {"count": count, "last": METRICS - 1})
        connection.execute("ANALYZE")
    service.close()
    theirs = _search(url)
    if theirs.count(b'"run_uuid"') < 2:
        raise BenchmarkFailed(f"MLflow found nothing: {theirs[:300]!r}")
    path = f"/api/v1/projects/{board}/suites/board/leaderboard?limit=50"
    ours_times, theirs_times = side_by_side([lambda: service.ask_raw("GET", path), lambda: _search(url)], 20)
    return Row(
        what=f"{MLFLOW[0].replace('==', ' ')}: runs/search, top 50 of {count:,} runs × {METRICS} metrics",
        measured=str(theirs_times),
        floor=f"{theirs_times.p50 / ours_times.p50:.0f} × our board ({ours_times.p50:.1f} ms), asked in turn",
    )


@contextmanager
def mlflow_server(python: Path, database_url: str, place: Path) -> Iterator[str]:
    """Address of an MLflow server with one worker, which keeps what it is told in that database."""
    store = database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as parts:
        log = parts.enter_context((place / "mlflow.log").open("wb"))
        process = subprocess.Popen(
            [str(python), "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port), "--workers", "1",
             "--default-artifact-root", "file:///nowhere"],
            cwd=place, env={**os.environ, **SILENT}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        parts.enter_context(ended_with_us(process))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _is_up(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkFailed(f"MLflow did not start: {(place / 'mlflow.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield url


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310  our own address
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _search(url: str) -> bytes:
    request = urllib.request.Request(  # noqa: S310  our own address
        f"{url}/api/2.0/mlflow/runs/search",
        data=b'{"experiment_ids": ["0"], "max_results": 50, "order_by": ["metrics.m0 ASC"]}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content
