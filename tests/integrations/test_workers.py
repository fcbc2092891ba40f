"""Real DataLoaders: their workers are forked or spawned with whatever the data set holds, a run among it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService
from tests.client.test_process import environment

pytest.importorskip("torch")

_TRAINING = """
import multiprocessing, os, sys, time
import torch
import truerun

class Numbers(torch.utils.data.Dataset):
    def __init__(self, run):
        self.run = run

    def __len__(self):
        return 64

    def __getitem__(self, i):
        self.run.log({"from the worker": i})
        truerun.log({"from the worker": i})
        self.run.summary["worker"] = i
        assert self.run.is_muted
        return torch.tensor(float(i))

def begin(worker):
    own = truerun.init("burgers", run_key=f"worker-{worker}")
    own.log({"own": worker})
    own.finish()

if __name__ == "__main__":
    run = truerun.init("burgers", run_key="unet-64")
    run.log({"loss": torch.tensor(0.0)})
    loader = torch.utils.data.DataLoader(
        Numbers(run), batch_size=8, num_workers=int(sys.argv[3]), multiprocessing_context=sys.argv[1],
        worker_init_fn=begin if sys.argv[2] == "own" else None,
    )
    for epoch in range(int(sys.argv[3])):
        for batch in loader:
            run.log({"loss": batch.mean()})
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_workers_of_a_loader_are_silent_unless_they_begin_a_run_of_their_own(
    home: Path, service: FakeService, spool: Path, method: str
) -> None:
    program = home / "train.py"
    program.write_text(textwrap.dedent(_TRAINING))
    # Each spawned one imports torch anew, which takes its time.
    begins, count = ("own", 2) if method == "fork" else ("none", 1)

    done = subprocess.run(
        [sys.executable, str(program), method, begins, str(count)],
        env=environment(home, service.url),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    streams = {key: stream for key, stream in service.streams.items() if stream.values("loss")}
    (main,) = streams.values()
    assert len(main.values("loss")) == 1 + count * 8
    assert (main.next_idx, main.gaps) == (2 + count * 8, [])
    assert not any(stream.values("from the worker") for stream in service.streams.values())
    if begins == "own":
        # Two epochs have two workers each.
        assert sorted(value for s in service.streams.values() for _, value in s.values("own")) == [0, 0, 1, 1]
        assert set(service.runs) == {"unet-64", "worker-0", "worker-1"}
    else:
        assert len(service.streams) == 1
    assert list(spool.iterdir()) == []
