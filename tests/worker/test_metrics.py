"""What the worker says of itself to Prometheus."""

from __future__ import annotations

import time
import urllib.request

import pytest

from app.worker.metrics import WorkerMetrics
from tests.services.world import World, a_project, a_world
from tests.supervisor.test_up import a_free_port
from tests.worker.owed import FakeSink, a_worker, make_everything_due, owe, work_until_idle


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_deliveries_failures_and_burials_are_counted(database_url: str) -> None:
    with a_world(database_url) as world:
        worker, began = run_until_buried(world), time.time()
        metrics = worker.metrics  # type: ignore[attr-defined]

    assert value(metrics, "truerun_worker_delivered_total", kind="log") == 2
    assert value(metrics, "truerun_worker_tries_failed_total", kind="log") == 10
    assert value(metrics, "truerun_worker_buried_total", kind="log") == 1
    assert value(metrics, "truerun_worker_steps_failed_total") == 0
    assert value(metrics, "truerun_worker_last_step_seconds") == pytest.approx(began, abs=60)


def run_until_buried(world: World) -> object:
    owe(world, a_project(world).id, "good", "bad", "better")
    worker = a_worker(world, FakeSink(fails=lambda message: message.payload["text"] == "bad"))
    for _ in range(10):
        work_until_idle(worker)
        make_everything_due(world)
    work_until_idle(worker)
    return worker


def test_they_are_shown_where_the_setting_says() -> None:
    metrics, port = WorkerMetrics(), a_free_port()
    metrics.judged.inc(3)

    metrics.serve(f"127.0.0.1:{port}")

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert "truerun_worker_judged_again_total 3.0" in answer.read().decode()
