"""A worker with one job, to be killed: `python -m tests.worker.wandb.one_job PLACE BASE_URL KEY`; says the outcome."""

from __future__ import annotations

import sys
from pathlib import Path

from app.worker.wandb_jobs.order import Target
from app.worker.wandb_jobs.runner import Runner
from tests.worker.wandb.jobs import LIMITS, a_small_job


def main() -> None:
    place, base_url, key = sys.argv[1:]
    runner = Runner(place=Path(place), allowed=frozenset({base_url}), limits=LIMITS, environ={})
    target = Target(base_url=base_url, entity="team", project="burgers")
    print(runner.run(a_small_job(), target, key=key).state.value)


if __name__ == "__main__":
    main()
