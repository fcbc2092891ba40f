from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

import truerun
from tests.client.fake_service import until
from tests.client.live.service import Live

# Kills of a training, each at a moment that the seed gives.
KILLS = int(os.environ.get("FAULTS_TRAINER_KILLS", "8"))
SEED = int(os.environ.get("FAULTS_SEED", "20261121"))


def sql(live: Live, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(live.database_url.replace("+psycopg", "")) as connection:
        return connection.execute(query, values).fetchall()


def logged_values(live: Live, key: str, metric: str = "loss") -> list[float]:
    query = "SELECT value FROM metric_point WHERE run = %s AND metric = %s AND counts ORDER BY attempt, step"
    return [value for (value,) in sql(live, query, key, metric)]


def test_a_training_is_followed_from_its_first_step_to_its_end(live: Live) -> None:
    run = truerun.init("codes", run_key="train", config={"lr": 1})
    for step in range(500):
        run.log({"loss": 1 / (step + 1), "nan": float("nan")}, step=step)
        if step % 100 == 0:
            run.log_groups({"easy": {"mse": step}, "hard": {"mse": 2 * step}}, step=step, split="val")
    run.summary["best"] = 0.002
    run.alert("done", "nearly", level="warn")
    run.finish("failed", error="out of memory token=abc")

    assert logged_values(live, "train") == [1 / (step + 1) for step in range(500)]
    assert sql(live, "SELECT status, summary FROM run WHERE key = 'train'") == [("failed", {"best": 0.002})]
    assert sql(live, "SELECT error FROM attempt") == [("out of memory token=[removed]",)]
    books = sql(live, "SELECT next_idx, stored, rejected, gaps, logged FROM stream")
    assert books == [(508, 508, 0, 0, 508)]
    alerts = live.say("alerts", "--json").document["items"]
    assert [alert["title"] for alert in alerts] == ["train: done"]


def test_a_stop_that_is_asked_for_reaches_the_training(live: Live) -> None:
    run = truerun.init("codes", run_key="train")
    run.log({"loss": 1.0})
    until(lambda: bool(sql(live, "SELECT 1 FROM stream WHERE next_idx > 0")))
    (row,) = sql(live, "UPDATE run SET stop_requested = true WHERE key = 'train' RETURNING id")
    assert row

    run.log({"loss": 2.0})

    until(lambda: run.stop_requested)
    run.finish()


_TRAINER = """
import os, struct, sys, time
import truerun

key, ledger = sys.argv[1:]
run = truerun.init("codes", run_key=key)
returned = os.open(ledger, os.O_WRONLY | os.O_CREAT)
step = 0
while True:
    for _ in range(50):
        run.log({"loss": step, "half": step / 2}, step=step)
        step += 1
        # From here on a kill must not lose it.
        os.pwrite(returned, struct.pack("<q", step), 0)
    time.sleep(0.002)
"""


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_training_that_is_killed_loses_nothing_that_it_logged_and_doubles_nothing(
    live: Live, tmp_path: Path, spool: Path, kill: int
) -> None:
    key, ledger = f"killed-{kill}", tmp_path / "ledger"
    trainer = subprocess.Popen([sys.executable, "-c", _TRAINER, key, str(ledger)])
    until(lambda: ledger.exists() and ledger.stat().st_size == 8, 30)
    time.sleep(random.Random(SEED + kill).uniform(0.0, 1.5))
    trainer.send_signal(signal.SIGKILL)
    trainer.wait(30)
    returned = int.from_bytes(ledger.read_bytes(), "little")

    said = live.say("sync")

    assert said.code == 0, said.out + said.err
    values = logged_values(live, key)
    assert values == [float(i) for i in range(len(values))]
    # The last call may have been killed before it could return.
    assert returned <= len(values) <= returned + 1
    assert logged_values(live, key, "half") == [i / 2 for i in range(len(values))]
    ((next_idx, stored, rejected, gaps),) = sql(live, "SELECT next_idx, stored, rejected, gaps FROM stream")
    assert (next_idx, rejected, gaps) == (stored, 0, 0)
    assert list(spool.iterdir()) == []
