"""Aim, into a repository of its own; nothing of the machine or the terminal is captured beside the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aim

from bench.speed.peers.programs.pace import NUMBERS, main


class Tracked:
    def __init__(self, place: Path, _name: str) -> None:
        self._place = str(place)
        aim.Repo.from_path(self._place, init=True)
        self._run = self._opened(None)
        self._hash = self._run.hash

    def _opened(self, run_hash: str | None) -> Any:
        return aim.Run(
            run_hash,
            repo=self._place,
            system_tracking_interval=None,
            capture_terminal_logs=False,
            log_system_params=False,
        )

    def log(self, step: int) -> None:
        self._run.track(NUMBERS, step=step)

    def finish(self) -> None:
        self._run.close()

    def readable(self) -> int:
        # As a writer: readers see a closed run only once Aim's own service has indexed it.
        found = self._opened(self._hash)
        return sum(len(metric.values.sparse_list()[1]) for metric in found.metrics())


if __name__ == "__main__":
    main(Tracked)
