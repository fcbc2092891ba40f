"""A training with a W&B run of its own: `python -m tests.worker.wandb.training RUN DIRECTORY`.

It logs a row whenever a line comes on standard input, and ends with it. Clock and host are left out by comparing only
what the training itself says.
"""

from __future__ import annotations

import sys

import wandb


def main() -> None:
    name, directory = sys.argv[1:]
    settings = wandb.Settings(
        console="off", silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True
    )
    config = {"lr": 0.1, "layers": [1, 2]}
    run = wandb.init(
        entity="team",
        project="burgers",
        id=name,
        group="run-6",
        config=config,
        dir=directory,
        settings=settings,
    )
    print("ready", flush=True)
    for step, _ in enumerate(sys.stdin):
        run.log({"loss": 1.0 / (step + 1), "table": wandb.Table(columns=["step"], data=[[step]])})
        print(step, flush=True)
    run.summary["best"] = 0.5
    run.finish()


if __name__ == "__main__":
    main()
