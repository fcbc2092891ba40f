"""A training that has its own W&B run open goes on as if there were no mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from app.worker.wandb_jobs.outcome import State
from tests.worker.wandb.held import HeldRun
from tests.worker.wandb.jobs import a_runner, a_small_job, a_target
from tests.worker.wandb.standin import KEY, Standin

ROOT = Path(__file__).parents[3]
MIRRORED = 20 if os.environ.get("FAULTS_FULL") else 6
STEPS = 5
# What wandb says of the moment, and the addresses of tables, which are drawn anew for each run.
_PASSING = {"_timestamp", "_runtime", "artifact_path", "_latest_artifact_path", "_wandb"}


class Training:
    """A training process, stepped by hand."""

    def __init__(self, standin: Standin, name: str, directory: Path) -> None:
        directory.mkdir()
        home = {key: str(directory) for key in ("HOME", "TMPDIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.wandb.training", name, str(directory)],
            cwd=ROOT,
            env={
                **home,
                "WANDB_BASE_URL": standin.url,
                "WANDB_API_KEY": KEY,
                "WANDB_ERROR_REPORTING": "false",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.said() == "ready"

    def step(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.said()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        self.process.communicate(timeout=120)
        return self.process.returncode


def test_a_live_training_is_the_same_as_without_the_mirror(standin: Standin, tmp_path: Path) -> None:
    runner = a_runner(tmp_path / "mirror", standin)
    control = Training(standin, "control", tmp_path / "control")
    for _ in range(STEPS):
        control.step()
    assert control.end() == 0

    live = Training(standin, "trained", tmp_path / "trained")
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(runner.run, a_small_job(f"eval-{number}"), a_target(standin), key=KEY)
            for number in range(MIRRORED)
        ]
        for _ in range(STEPS - 1):
            live.step()
        states = [job.result().state for job in jobs]
        open_while_mirrored = not standin.run("trained").complete
    live.step()
    assert live.end() == 0

    assert states == [State.DELIVERED] * MIRRORED
    assert {standin.run(f"eval-{number}").group for number in range(MIRRORED)} == {"run-6"}
    assert open_while_mirrored
    assert said_by(standin.run("trained")) == said_by(standin.run("control"))
    assert len(standin.run("trained").rows) == STEPS
    # What the training itself writes again would hide that somebody else wrote it.
    assert asked_about(standin, "trained") == asked_about(standin, "control")


def asked_about(standin: Standin, run: str) -> set[str]:
    """The kinds of requests that name the run; whoever opens one that is there asks for more than who begins it."""
    return {
        asked.op if asked.kind == "graphql" else asked.kind
        for asked in standin.asked
        if run in (json.dumps(asked.body.get("variables")) if asked.kind == "graphql" else asked.op)
    }


def said_by(run: HeldRun) -> bytes:
    """All that the training itself said, as bytes."""
    said = {
        "rows": [_lasting(row) for row in run.rows],
        "summary": _lasting(run.summary),
        "config": run.values(),
        "files": {path: content.decode() for path, content in run.files.items() if path.startswith("media/")},
        "complete": run.complete,
        "exitcode": run.exitcode,
        "group": run.group,
    }
    return json.dumps(said, sort_keys=True).encode()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if key not in _PASSING}
    return value
