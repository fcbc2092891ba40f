"""The interpreter's end: whoever still logs then hears nothing worse than that it was too late."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService, Fault
from tests.client.test_process import ended, started

_LATE = """
import atexit, os, sys, threading, time
import truerun

class Leaves:
    def __del__(self):
        run.log({"deleted": 1.0})
        run.alert("deleted")
        run.summary["deleted"] = 1
        run.log_evaluation("s", {"nrmse": 0.1}, timeout=0)
        truerun.log({"deleted": 2.0})
        run.finish()

def too_late():
    run.log({"too late": 1.0})
    truerun.init("burgers", run_key="too-late").log({"too late": 2.0})

# The last one that was registered is called first.
atexit.register(too_late)
run = truerun.init("burgers", run_key="unet-64")
atexit.register(lambda: run.log({"in time": 1.0}))

def log_for_ever():
    while True:
        run.log({"beside": 1.0})

threading.Thread(target=log_for_ever, daemon=True).start()
leaves = Leaves()
# Only found by the garbage collector, when the modules are torn down.
sys.modules["of the training"] = cycle = [leaves]
cycle.append(cycle)
run.log({"loss": 1.0})
print(time.time(), flush=True)
"""


@pytest.mark.parametrize("is_there", [True, False], ids=["up", "silent"])
def test_who_logs_while_the_interpreter_ends_neither_hangs_nor_hurts_it(
    home: Path, service: FakeService, is_there: bool
) -> None:
    if not is_there:
        service.always = {kind: Fault(hang=True) for kind in ("run", "records")}
    began = time.monotonic()

    done = ended(started(home, service.url, _LATE, "-W", "error", "-X", "dev"), began)

    assert done.code == 0, done.err
    assert time.time() - float(done.out) < 6.5
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    assert sum("after the end of run" in line for line in done.err.splitlines()) <= 3
    if is_there:
        (stream,) = [stream for stream in service.streams.values() if stream.values("loss")]
        assert len(stream.values("in time")) == 1
        assert stream.values("too late") == []
        assert stream.gaps == []
