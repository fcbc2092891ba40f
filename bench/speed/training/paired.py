"""A training's median step time with our client, against the same training's without, block by block in turn."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.speed.environments import NotInstallable, environment
from bench.speed.rows import Row
from bench.speed.service import PATIENCE_SECONDS, BenchmarkFailed, Running

AIM = 0.005
_ROOT = Path(__file__).parents[3]
# The torch that the tests run beside.
PACKAGES = ((_ROOT / "requirements" / "torch.txt").read_text().strip(), "httpx==0.28.1")
_WHAT = "a training's median step, our client logging 10 numbers (4 of them tensors) in each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Args:
    count: Pairs of blocks; every second begins without the client.
    seconds: Of a block, several times as long as the client waits between two requests.
    rest: Untimed seconds after each block, longer than the client waits.
    """

    count: int = 40
    seconds: float = 2.5
    rest: float = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """By how much a step took longer, relative to one without: the median pair, and 95 % of its bootstrap.

    Args:
        step_ms: The median step without.
    """

    relative: float
    low: float
    high: float
    step_ms: float

    def __str__(self) -> str:
        return f"{100 * self.relative:+.2f} % [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def training(service: Running, place: Path, pairs: Pairs) -> Row:
    """Raises BenchmarkFailed when the training failed, or what it logged cannot be read back."""
    try:
        python = environment(PACKAGES)
    except NotInstallable as error:
        return Row(what=_WHAT, measured="torch cannot be installed here", floor=str(error)[:200])
    environ = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")},
        "HOME": str(place),
        "XDG_STATE_HOME": str(place / "state"),
        "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "client")]),
        "TRUERUN_URL": service.url,
        "TRUERUN_TOKEN": service.token,
    }
    ended = subprocess.run(
        [str(python), "-P", "-m", "bench.speed.training.train", str(pairs.count), str(pairs.seconds), str(pairs.rest)],
        env=environ, cwd=place, capture_output=True, text=True, check=False,
        timeout=2 * pairs.count * (pairs.seconds + pairs.rest) + PATIENCE_SECONDS,
    )  # fmt: skip
    said = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode or not said:
        raise BenchmarkFailed(f"the training ended with {ended.returncode}: {ended.stderr[-2000:]}")
    found = json.loads(said[-1])
    service.close()
    runs = service.ask("GET", "/api/v1/projects/training/runs")["items"]
    run_id = next(run["run_id"] for run in runs if run["key"] == found["run_key"])
    metrics = service.ask("GET", f"/api/v1/runs/{run_id}/metrics")["items"]
    if [item["count"] for item in metrics] != [found["logged"]] * 10:
        raise BenchmarkFailed(f"of {found['logged']} steps the service has {metrics}")
    wall, processor = (
        cost([block[clock] for block in found["with"]], [block[clock] for block in found["without"]])
        for clock in ("wall", "processor")
    )
    return row(wall, processor, pairs=pairs.count, steps=found["logged"])


def cost(logged: Sequence[Sequence[float]], silent: Sequence[Sequence[float]]) -> Cost:
    """Args:
    logged, silent: Durations of each block's steps, in the order of the pairs.
    """
    with_client = np.array([np.median(block) for block in logged])
    without = np.array([np.median(block) for block in silent])
    ratios: NDArray[np.float64] = with_client / without - 1.0
    draws = np.random.default_rng(1).integers(len(ratios), size=(5000, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return Cost(
        relative=float(np.median(ratios)),
        low=float(low),
        high=float(high),
        step_ms=float(np.median(without)),
    )


def row(wall: Cost, processor: Cost, *, pairs: int, steps: int) -> Row:
    return Row(
        what=_WHAT,
        measured=f"{wall} of {wall.step_ms:.1f} ms",
        aim=f"≤ +{100 * AIM:.1f} %",
        floor=(
            f"the same steps without it: {pairs} pairs of blocks in turn, {steps:,} steps logged, 95 % bootstrap; "
            f"of the processor in the training's thread {processor}"
        ),
        is_met=wall.relative <= AIM,
    )
