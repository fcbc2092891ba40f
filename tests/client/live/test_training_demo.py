"""The demo's training, made tiny: real torch in an environment of its own, beside a real service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.live.conftest import Live
from truerun.cli.service import Service
from truerun.settings import find_settings

ROOT = Path(__file__).parents[3]
PROJECT, SUITE = "burgers-1d", "burgers-1d-val"
STEPS = 60


@pytest.fixture(scope="module")
def python_with_torch() -> str:
    """The first Python that has torch: this one, or the one that `make demo TRAIN=1` made."""
    for python in (sys.executable, str(ROOT / ".venv-train/bin/python")):
        asked = [python, "-c", "import torch, numpy, truerun"]
        if Path(python).exists() and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("torch is not installed; `make demo TRAIN=1` installs it")


@pytest.fixture
def service(live: Live) -> Iterator[Service]:
    service = Service(find_settings(url=live.url, token=live.token, mode=None))
    yield service
    service.close()


def train(python: str, live: Live, home: Path) -> subprocess.CompletedProcess[str]:
    """What `make demo TRAIN=1` runs beside its service, with a few steps."""
    return subprocess.run(
        [python, "-m", "examples.burgers", "--steps", str(STEPS), "--samples", "8"],
        cwd=ROOT,
        env=os.environ
        | {
            "TRUERUN_URL": live.url,
            "TRUERUN_TOKEN": live.token,
            "TRUERUN_MODE": "online",
            "XDG_STATE_HOME": str(home),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_two_real_trainings_are_logged_and_judged_once(
    python_with_torch: str, live: Live, service: Service, tmp_path: Path
) -> None:
    first = train(python_with_torch, live, tmp_path)
    again = train(python_with_torch, live, tmp_path)

    assert (first.returncode, first.stderr) == (0, "")
    assert (again.returncode, again.stderr) == (0, "")
    runs = {run["key"]: run for run in service.items(f"/projects/{PROJECT}/runs")}
    assert {key: (run["status"], run["attempt"]) for key, run in runs.items()} == {
        "baseline": ("finished", 1),
        "shocks-first": ("finished", 1),
    }
    posted = {}
    for key, run in runs.items():
        path = f"/runs/{run['run_id']}"
        series = {(each["metric"], each["group"]): each for each in service.items(f"{path}/metrics")}
        assert series["loss", None]["count"] == series["loss/mass", None]["count"] == STEPS
        assert series["loss", None]["last"] < series["loss", None]["first"]
        # Once after each epoch of 50 steps and at the end.
        assert series["rel_l2", "nu=0.3"]["count"] == series["mass_gap", "nu=0.01"]["count"] == 2
        assert all(each["non_finite"] == 0 for each in series.values())
        (evaluation,) = service.items(f"{path}/evaluations", {"suite": SUITE})
        posted[key] = evaluation["evaluation"]
        verdict = service.get(f"/evaluations/{evaluation['evaluation']}")
        assert {each["n"] for each in verdict["values"]} == {64}
        outcomes = {each["rule"]: each["outcome"] for each in verdict["checks"]}
        assert (outcomes["count"], outcomes["loss_decomposition"]) == ("pass", "pass")
        last = next(
            each for each in verdict["values"] if (each["metric"], each["group"]) == ("rel_l2", "nu=0.3")
        )
        assert last["value"] == pytest.approx(series["rel_l2", "nu=0.3"]["last"])
    baseline = service.get(f"/projects/{PROJECT}/suites/{SUITE}/baseline")
    assert baseline["version"] == 1
    assert baseline["evaluation"]["evaluation"] == posted["baseline"]
    assert "live?metric=loss" in first.stdout
    assert first.stdout.splitlines()[-3].startswith("The mean error went from 0.")
    assert len(first.stdout.splitlines()) <= 36
    assert live.token not in first.stdout
    assert again.stdout.startswith("Both surrogates are still there from last time; nothing was trained.")
    assert again.stdout.splitlines()[-3] == first.stdout.splitlines()[-3]
