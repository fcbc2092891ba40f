"""What an upgrade of wandb would break first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from app.worker.wandb_jobs.child import settings
from app.worker.wandb_jobs.order import Limits, Mode, Target
from app.worker.wandb_jobs.outcome import State
from tests.worker.wandb import operations
from tests.worker.wandb.jobs import a_runner, a_small_job, a_target
from tests.worker.wandb.standin import KEY, Standin


def test_the_release_is_the_one_that_all_this_was_found_out_with() -> None:
    assert wandb.__version__.startswith("0.31.")


def test_every_setting_exists() -> None:
    target = Target(base_url="https://api.wandb.ai", entity="team", project="burgers", mode=Mode.OFFLINE)

    # Unknown ones are refused.
    made = settings(target, "/nonexistent", Limits())

    assert (made.mode, made.console, made.x_disable_stats, made.finish_timeout_raises) == (
        "offline",
        "off",
        True,
        True,
    )
    assert made.stop_fn is not None
    assert made.stop_fn() is None


def test_an_operation_that_the_standin_does_not_know_fails_by_name(
    monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    standin = Standin()
    monkeypatch.delitem(operations.OPERATIONS, "CreateArtifact")

    outcome = a_runner(place, standin).run(a_small_job(), a_target(standin), key=KEY)

    standin.stop()
    assert outcome.state is State.RETRY
    assert standin.unknown == ["CreateArtifact"]


@pytest.mark.parametrize("module", ["app.main", "app.cli", "app.worker.main", "app.worker.wandb_jobs.runner"])
def test_neither_api_nor_worker_import_wandb(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.partition('.')[0] == 'wandb'])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "[]"
