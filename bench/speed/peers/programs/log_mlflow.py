"""MLflow, to the server that MLFLOW_TRACKING_URI names; the fourth argument says by which call."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow

from bench.speed.peers.programs.pace import NUMBERS, main

CALL = sys.argv[4]
IS_ASYNC = CALL.endswith("async")


class Tracked:
    def __init__(self, _place: Path, name: str) -> None:
        mlflow.set_experiment(CALL)
        self._run_id = mlflow.start_run(run_name=name, log_system_metrics=False).info.run_id

    def log(self, step: int) -> None:
        if CALL.startswith("log_metrics"):
            mlflow.log_metrics(NUMBERS, step=step, synchronous=not IS_ASYNC)
            return
        for name, value in NUMBERS.items():
            mlflow.log_metric(name, value, step=step, synchronous=not IS_ASYNC)

    def finish(self) -> None:
        if IS_ASYNC:
            mlflow.flush_async_logging()
        mlflow.end_run()

    def readable(self) -> int:
        client = mlflow.MlflowClient()
        return sum(len(client.get_metric_history(self._run_id, name)) for name in NUMBERS)


if __name__ == "__main__":
    main(Tracked)
