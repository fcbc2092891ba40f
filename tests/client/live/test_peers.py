from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.client.fake_service import until
from tests.client.live.service import Live
from tests.client.live.test_history import sql
from tests.client.test_process import environment

_RANK = """
import os, sys, time
import truerun

run = truerun.init("codes", run_key="job", ranks="all")
for step in range(10):
    run.log({"loss": float(os.environ["RANK"])}, step=step)
while os.environ["AWAITED"] not in run._outlet._sender.trouble:
    time.sleep(0.01)
print("logged", flush=True)
sys.stdin.readline()
run.finish(timeout=30)
"""


def a_rank(home: Path, live: Live, rank: int, *, awaited: str = "") -> subprocess.Popen[str]:
    """A process of the job that has logged, and has heard of the trouble that is awaited."""
    more = {"RANK": str(rank), "WORLD_SIZE": "2", "TRUERUN_TOKEN": live.token, "AWAITED": awaited}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_RANK)],
        env=environment(home, live.url, **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n", process.communicate()[1]
    return process


def end(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate("\n", timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def streams(live: Live) -> list[tuple[int, str, int, int]]:
    return sql(live, "SELECT rank, role, attempt, stored FROM stream ORDER BY attempt, rank")


def test_ranks_that_come_in_any_order_and_again_are_streams_of_the_right_attempt(
    live: Live, home: Path, spool: Path
) -> None:
    early = a_rank(home, live, 1, awaited="has not opened run job yet")
    first = a_rank(home, live, 0)
    until(lambda: sql(live, "SELECT 1 FROM attempt"), 30)
    end(early)
    end(first)
    assert streams(live) == [(0, "train", 1, 11), (1, "attach", 1, 10)]
    sql(live, "UPDATE attempt SET started_at = started_at - interval '1 hour' RETURNING 1")

    # The job is started again, and its rank 1 finds the run with the attempt before.
    early = a_rank(home, live, 1, awaited="has not begun an attempt")
    first = a_rank(home, live, 0)
    until(lambda: sql(live, "SELECT 1 FROM attempt WHERE number = 2"), 30)
    end(early)
    end(first)

    assert streams(live)[2:] == [(0, "train", 2, 11), (1, "attach", 2, 10)]
    by_rank = "SELECT rank, count(*), min(value) FROM metric_point WHERE counts GROUP BY rank ORDER BY rank"
    assert sql(live, by_rank) == [(0, 10, 0.0), (1, 10, 1.0)]
    assert sql(live, "SELECT status FROM run") == [("finished",)]
    assert list(spool.iterdir()) == []
