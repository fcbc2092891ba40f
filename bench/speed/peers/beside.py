"""Every peer in one run, beside us."""

from __future__ import annotations

import contextlib
from pathlib import Path

from bench.speed.environments import NotInstallable, environment
from bench.speed.peers.calls import MLFLOW, Size, log_calls, others, ours
from bench.speed.peers.search import database_of, mlflow_search, mlflow_server
from bench.speed.rows import Row
from bench.speed.service import Running


def peers(
    service: Running, database_url: str, place: Path, *, board: str, count: int, size: Size
) -> list[Row]:
    """Rows of other trackers, and of what could not be installed.

    Args:
        board: Key of our project with `count` evaluations.

    Raises:
        BenchmarkFailed: One of them did not do what it is measured at.
    """
    rows: list[Row] = []
    with contextlib.ExitStack() as open_until_then:
        url: str | None = None
        try:
            python = environment(MLFLOW)
        except NotInstallable as error:
            rows.append(Row(what=MLFLOW[0], measured="cannot be installed here", floor=str(error)[:200]))
        else:
            own = database_of(database_url)
            url = open_until_then.enter_context(mlflow_server(python, own, place))
        # Before the search, for which MLflow's tables are filled.
        rows += log_calls(ours(service), others(url), place, size)
        if url is not None:
            rows.append(mlflow_search(service, url, own, board=board, count=count))
    return rows
