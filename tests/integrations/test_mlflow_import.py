"""A real MLflow server, written by a real MLflow client and read by `truerun import mlflow`."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import psycopg
import pytest

from bench.speed.environments import NotInstallable, environment
from bench.speed.peers.calls import MLFLOW
from bench.speed.peers.search import mlflow_server
from tests.client.live.service import Live

WRITE = """
import sys
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
client = MlflowClient(sys.argv[1])
run = client.create_run(client.create_experiment("burgers"), run_name="unet-64", tags={"team": "pde"}).info.run_id
at = 1795000000000
points = [Metric(name, value, at + step, 10 * step) for step in range(300)
          for name, value in (("loss", 1 / (step + 1)), ("gap", float(step)))]
points += [Metric("gap", float("inf"), at + 300, 3000), Metric("loss", float("nan"), at + 300, 3000)]
client.log_batch(run, metrics=points, params=[Param("lr", "0.001"), Param("seed", "42")])
client.set_terminated(run)
"""


def test_what_an_mlflow_client_logged_is_brought_once(live: Live, tmp_path: Path) -> None:
    try:
        python = environment(MLFLOW)
    except NotInstallable as error:
        pytest.skip(f"MLflow cannot be installed here: {error}")
    with mlflow_server(python, f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path) as url:
        subprocess.run([str(python), "-c", WRITE, url], check=True, capture_output=True, timeout=120)

        first = live.say("import", "mlflow", url, "--json")
        again = live.say("import", "mlflow", url, "--json")

    assert (first.code, again.code) == (0, 0)
    (run,), (known,) = first.document["runs"], again.document["runs"]
    assert (run["state"], run["records"], run["points"]) == ("new", 301, 602)
    assert (known["state"], known["points"]) == ("known", 0)
    with psycopg.connect(live.database_url.replace("+psycopg", "")) as connection:
        query = "SELECT metric, step, value FROM metric_point ORDER BY metric, step"
        points = connection.execute(query).fetchall()
        configs = connection.execute("SELECT config, tags, status FROM run").fetchall()
    assert points[:300] == [("gap", 10 * step, float(step)) for step in range(300)]
    assert points[300] == ("gap", 3000, math.inf)
    assert [value for _, _, value in points[301:601]] == [1 / (step + 1) for step in range(300)]
    assert math.isnan(points[601][2])
    assert configs == [({"lr": 0.001, "seed": 42}, ["team=pde"], "finished")]
