"""Jobs of several processes: one that is killed, one that torchrun starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService
from tests.client.live.service import Live
from tests.client.live.test_history import sql
from tests.client.test_process import environment

pytest.importorskip("torch")

RANKS = 4
# Two cores are shared by all of them, and nobody outside this machine is meant.
_LOCAL = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
_KILLED = """
import datetime, os, signal, sys, time
import torch
import torch.distributed as dist
import truerun

rank = int(os.environ["RANK"])
run = truerun.init("burgers", run_key="gloo")
dist.init_process_group(
    "gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=4, timeout=datetime.timedelta(seconds=60)
)
for step in range(10):
    if (rank, step) == (2, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    number = torch.tensor(float(rank))
    try:
        dist.all_reduce(number)
    except RuntimeError:
        print(time.time(), flush=True)
        raise
    run.log({"loss": number}, step=step)
"""


def test_a_rank_that_is_killed_leaves_the_others_to_end_at_once_and_the_run_as_failed(
    home: Path, service: FakeService, spool: Path
) -> None:
    program = home / "train.py"
    program.write_text(textwrap.dedent(_KILLED))
    ranks = [
        subprocess.Popen(
            [sys.executable, str(program), str(home / "rendezvous")],
            env=environment(home, service.url, RANK=str(rank), WORLD_SIZE=str(RANKS), **_LOCAL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    said = [process.communicate(timeout=150) for process in ranks]
    now = time.time()

    codes = [process.returncode for process in ranks]
    assert codes[2] == -signal.SIGKILL, said
    assert all(code == 1 for rank, code in enumerate(codes) if rank != 2), said
    (stream,) = service.streams.values()
    assert stream.values("loss") == [(step, 6.0) for step in range(5)]
    assert (stream.next_idx, stream.gaps) == (6, [])
    assert service.statuses == ["failed"]
    assert service.runs["gloo"]["environment"]["world_size"] == RANKS
    # The error of the last one to hear of it, and from there to the end of all.
    assert now - max(float(out) for rank, (out, _) in enumerate(said) if rank != 2) < 6.5
    assert list(spool.iterdir()) == []


_RESTARTED = """
import os, signal, sys, time
import torch
import torch.distributed as dist
import truerun

rank, restart = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
start = 0 if restart == 0 else 3
more = {"ranks": "all"} if sys.argv[1] == "all" else {}
run = truerun.init("codes", resume="auto", resume_step=start, **more)
# The store of torchrun still has the addresses of the processes before.
meeting = f"file://{os.getcwd()}/meeting-{restart}"
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=int(os.environ["WORLD_SIZE"]))
for step in range(start, 8):
    number = torch.tensor(float(rank + 10 * restart))
    run.log({"loss": step, "mine": number}, step=step)
    while step == 4 and not run.is_muted and run._outlet.recorder.feed.next_idx == 0:
        # Who is killed before the service has heard of it leaves it open which attempt it was part of.
        time.sleep(0.01)
    dist.all_reduce(number)
    if (rank, step, restart) == (1, 5, 0):
        os.kill(os.getpid(), signal.SIGKILL)
run.finish()
dist.destroy_process_group()
"""


def torchrun(home: Path, live: Live, *arguments: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    program = home / "train.py"
    program.write_text(textwrap.dedent(_RESTARTED))
    flags = ["--standalone", f"--nproc-per-node={processes}", "--max-restarts=1"]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *flags, str(program), *arguments],
        env={
            **environment(home, live.url, TRUERUN_TOKEN=live.token, **_LOCAL),
            "PATH": os.environ["PATH"],
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("ranks", ["first", "all"])
def test_a_job_that_torchrun_starts_again_goes_on_as_the_next_attempt_of_its_run(
    home: Path, live: Live, ranks: str
) -> None:
    done = torchrun(home, live, ranks)

    assert done.returncode == 0, done.stderr
    ((key, status),) = sql(live, "SELECT key, status FROM run")
    assert key.startswith("torchrun-")
    assert status == "finished"
    assert sql(live, "SELECT number, resume_step FROM attempt ORDER BY number") == [(1, 0), (2, 3)]
    values = "SELECT value FROM metric_point WHERE metric = 'loss' AND rank = %s AND counts ORDER BY step"
    for rank in range(2 if ranks == "all" else 1):
        assert [value for (value,) in sql(live, values, rank)] == [float(step) for step in range(8)]
    # What the first attempt logged beyond the step that the second went on from is kept, and does not count.
    left = "SELECT step FROM metric_point WHERE metric = 'loss' AND rank = 0 AND NOT counts ORDER BY step"
    # Rank 0 may have come through the step in which rank 1 was killed.
    assert [step for (step,) in sql(live, left)] in ([3, 4, 5], [3, 4, 5, 6])
    streams = sql(live, "SELECT attempt, rank, role, gaps FROM stream ORDER BY attempt, rank")
    assert streams == [
        (attempt, rank, "attach" if rank else "train", 0)
        for attempt in (1, 2)
        for rank in range(2 if ranks == "all" else 1)
    ]
