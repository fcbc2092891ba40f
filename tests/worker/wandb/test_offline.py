"""What the real wandb writes to its own log, read back from the bytes."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from app.worker.wandb_jobs.order import Mode, Target
from app.worker.wandb_jobs.outcome import State
from app.worker.wandb_jobs.runner import Runner
from tests.worker.wandb.jobs import a_job, a_small_job, a_target, processes_of
from tests.worker.wandb.logs import Damaged, log_below, records, table_of
from tests.worker.wandb.standin import KEY, Standin


def offline(standin: Standin) -> Target:
    return a_target(standin, Mode.OFFLINE)


def test_the_log_holds_rows_charts_summary_config_and_alerts_and_nothing_is_sent(
    runner: Runner, standin: Standin, place: Path
) -> None:
    job = a_job()

    outcome = runner.run(job, offline(standin), key=None)

    assert (outcome.state, outcome.reason) == (State.KEPT_OFFLINE, "")
    log, files = log_below(place)
    assert table_of(log, files, "regression/comparison") == {
        "columns": ["Status", "Group", "Worsening", "Required"],
        "data": [["regressed", "k=4,m=2", 2.93, True], ["pass", "k=1,m=1", None, False]],
    }
    assert table_of(log, files, "physics/violations_table") == {
        "columns": ["metric", "violations"],
        "data": [["gap", 2.0], ["mass", 0.0]],
    }
    assert table_of(log, files, "ttc/reward_distribution_table")["data"] == [[1.0], [2.0], [2.0]]
    assert sorted(map(tuple, table_of(log, files, "ttc/reward_trajectory_table")["data"])) == [
        (0.0, "chosen", 1.0),
        (0.0, "mean", 0.5),
        (1.0, "chosen", 2.0),
        (1.0, "mean", 1.0),
    ]
    (row,) = log.history
    assert {key: row[key] for key in ("mirror/rev", "regression/status", "ttc/best")} == {
        "mirror/rev": 1,
        "regression/status": "regressed",
        "ttc/best": "NaN",
    }
    assert {key: log.summary[key] for key in ("mirror/rev", "mirror/digest", "leaderboard/metric_mse")} == {
        "mirror/rev": 1,
        "mirror/digest": job.digest,
        "leaderboard/metric_mse": 0.25,
    }
    assert {key: log.config[key] for key in ("source", "step")} == {
        "source": "https://ours/e/1",
        "step": 1200,
    }
    assert [(each.title, each.text, each.level, each.wait_duration) for each in log.alerts] == [
        (
            "run-6: 1 of 2 groups regressed (heights-val)",
            "https://ours/e/1\nk=4,m=2: worse",
            "ERROR",
            3_600_000,
        ),
        ("run-6: 1 limit not met (heights-val)", "conservation_gap: above", "WARN", 3_600_000),
    ]
    assert (log.run.run_id, log.run.run_group, log.run.job_type) == ("eval-1", "run-6", "evaluation")
    assert list(log.run.tags) == ["evaluation", "gate:closed"]
    assert log.exit_code == 0
    assert standin.asked == []


@pytest.mark.parametrize(
    ("chart", "definition", "title"),
    [
        ("physics/violations", "wandb/bar/v0", "Limits not met"),
        ("ttc/reward_trajectory", "wandb/lineseries/v0", "Reward"),
        ("ttc/reward_distribution", "wandb/histogram/v0", "Rewards"),
    ],
)
def test_charts_are_defined_and_the_host_is_not_told(
    offline_log: tuple[object, Path], chart: str, definition: str, title: str
) -> None:
    log, files = offline_log

    panels = {key.split("\0")[-1]: each for key, each in log.config.items() if "visualize\0" in key}

    assert panels[chart]["panel_config"]["panelDefId"] == definition
    assert panels[chart]["panel_config"]["stringSettings"]["title"] == title
    assert log.run.host == "mirror"
    # No metadata, no requirements, no code.
    assert sorted(each.name for each in files.iterdir()) == ["media"]


@pytest.fixture(scope="module")
def offline_log(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    place = tmp_path_factory.mktemp("offline")
    target = Target(base_url="http://127.0.0.1:9", entity="team", project="burgers", mode=Mode.OFFLINE)
    Runner(place=place, allowed=frozenset({target.base_url})).run(a_job(alerts=()), target, key=None)
    return log_below(place)


def test_the_same_job_is_written_once_and_survives_a_sweep(
    runner: Runner, standin: Standin, place: Path
) -> None:
    first = runner.run(a_small_job(), offline(standin), key=None)

    again = runner.run(a_small_job(), offline(standin), key=None)

    assert again == first
    assert runner.sweep() == 0
    assert len(list(place.rglob("run-*.wandb"))) == 1
    assert processes_of(place) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_the_command_brings_the_run_with_its_alert_to_the_server(
    runner: Runner, standin: Standin, place: Path, tmp_path: Path
) -> None:
    job = a_small_job()
    kept = runner.run(job, offline(standin), key=None)

    words = shlex.split(kept.command)
    assert words[-1] == kept.directory
    home = {
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PATH": os.defpath,
        "WANDB_ERROR_REPORTING": "false",
    }
    subprocess.run(
        words,
        cwd=tmp_path,
        env={**home, "WANDB_API_KEY": KEY},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )

    held = standin.run("eval-1")
    assert held.table("regression/comparison")["data"] == [list(row) for row in job.tables[0].rows]
    assert held.summary["mirror/digest"] == job.digest
    assert [each["title"] for each in standin.held.alerts] == [job.alerts[0].title]


def test_the_reader_notices_damage(offline_log: tuple[object, Path]) -> None:
    _, files = offline_log
    raw = bytearray(next(files.parent.glob("*.wandb")).read_bytes())
    assert list(records(bytes(raw)))

    raw[len(raw) // 2] ^= 0xFF

    with pytest.raises(Damaged):
        list(records(bytes(raw)))
