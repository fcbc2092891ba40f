"""The client in a real process: importing, exiting, dying, forking."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService, Fault, problem, until

CLIENT = Path(truerun.__file__).parent.parent
BEGIN = """
import os, sys, time
import truerun
run = truerun.init("burgers", run_key=os.environ.get("KEY", "unet-64"))
"""
# Waits until so many evaluations are left in the spool.
LINGER = """
import glob
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    if len(glob.glob(os.environ["XDG_STATE_HOME"] + "/truerun/spool/*/evaluations/*.json")) <= {left}:
        break
    time.sleep(0.05)
"""


@dataclass
class Ended:
    code: int
    seconds: float
    out: str
    err: str


def environment(home: Path, url: str | None, **more: str) -> dict[str, str]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"PYTHONPATH": str(CLIENT), "PYTHONDONTWRITEBYTECODE": "1"}
    environ |= {"XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
    return environ | ({"TRUERUN_URL": url, "TRUERUN_TOKEN": PROJECT_TOKEN} if url else {}) | more


def started(home: Path, url: str | None, code: str, *flags: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        env=environment(home, url, **more),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], began: float) -> Ended:
    out, err = process.communicate(timeout=60)
    return Ended(code=process.returncode, seconds=time.monotonic() - began, out=out, err=err)


def script(home: Path, url: str | None, code: str, *flags: str, **more: str) -> Ended:
    began = time.monotonic()
    return ended(started(home, url, code, *flags, **more), began)


def waiting(spool: Path) -> list[Path]:
    return sorted(spool.glob("*/evaluations/*.json"))


def test_importing_is_quick_and_brings_nothing_heavy(home: Path) -> None:
    code = """
    import sys, time
    began = time.perf_counter()
    import truerun
    seconds = time.perf_counter() - began
    heavy = [name for name in ("httpx", "numpy", "torch", "asyncio", "ssl") if name in sys.modules]
    print(seconds, ",".join(heavy))
    truerun.init, truerun.Verdict, truerun.log_evaluation
    print(",".join(name for name in ("httpx", "numpy", "torch", "asyncio") if name in sys.modules))
    """
    runs = [script(home, None, code).out.splitlines() for _ in range(3)]

    assert min(float(lines[0].split()[0]) for lines in runs) < 0.15
    assert {lines[0].split(" ")[1] for lines in runs} == {""}
    assert {lines[1] for lines in runs} == {""}


def test_a_short_script_delivers_and_leaves_nothing_not_even_a_word(
    home: Path, service: FakeService, spool: Path
) -> None:
    done = script(
        home,
        service.url,
        BEGIN + "print(run.log_evaluation('s', {'nrmse': 0.1}).gate)",
        "-W",
        "error",
        "-X",
        "dev",
    )

    assert (done.code, done.out, done.err) == (0, "open\n", "")
    assert service.statuses == ["finished"]
    assert list(spool.iterdir()) == []


def test_a_process_that_dies_of_an_exception_ends_its_run_as_failed(home: Path, service: FakeService) -> None:
    done = script(home, service.url, BEGIN + "run.log_evaluation('s', {'nrmse': 0.1})\n1 / 0")

    assert done.code == 1
    assert done.err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert service.statuses == ["failed"]


def test_an_exit_code_of_the_script_is_kept(home: Path, service: FakeService) -> None:
    done = script(home, service.url, BEGIN + "sys.exit(3)")

    assert (done.code, done.err) == (3, "")
    assert service.statuses == ["finished"]


@pytest.mark.parametrize("kind", ["hang", "refused"])
def test_exit_takes_at_most_five_seconds_and_one_line_with_a_dead_server(
    home: Path, service: FakeService, spool: Path, kind: str
) -> None:
    service.always["run"] = Fault(hang=True)
    url = service.url if kind == "hang" else "http://127.0.0.1:1"
    code = BEGIN + "run.log_evaluation('s', {'nrmse': 0.1}, timeout=0)\nprint(time.time())"

    done = script(home, url, code)

    exiting = time.time() - float(done.out)
    (directory,) = spool.iterdir()
    assert done.code == 0
    assert exiting < 7.0
    assert done.err.splitlines()[-1].endswith(f"send with: truerun sync {directory}")
    assert sum("truerun sync" in line for line in done.err.splitlines()) == 1
    assert len(waiting(spool)) == 1


def test_a_killed_process_loses_nothing_and_the_next_one_sends_it(
    home: Path, service: FakeService, spool: Path
) -> None:
    service.always["evaluation"] = problem(503, "down")
    kill = "run.log_evaluation('s', {'nrmse': 0.1}, timeout=0)\nos.kill(os.getpid(), 9)"
    killed = script(home, service.url, BEGIN + kill, KEY="killed")
    script(home, service.url, BEGIN + kill, KEY="offline", TRUERUN_MODE="offline")
    other = BEGIN.replace("burgers", "elsewhere") + kill
    script(home, service.url, other, KEY="other-project")
    assert len(waiting(spool)) == 3
    service.always.clear()
    before = len(service.requests)

    script(home, service.url, BEGIN + LINGER.format(left=2), KEY="next")

    assert killed.code == -signal.SIGKILL
    sent = [request.path for request in service.requests[before:] if "/evaluations/" in request.path]
    assert [path.split("/")[4] for path in sent] == ["id-of-killed"]
    assert len(waiting(spool)) == 2
    roles = {request.body["role"] for request in service.requests if request.path.endswith("/killed")}
    assert roles == {"train"}


def test_a_terminated_process_is_not_held_up(home: Path, service: FakeService, spool: Path) -> None:
    service.always["run"] = Fault(hang=True)
    process = started(home, service.url, BEGIN + "run.log_evaluation('s', {'nrmse': 0.1}, timeout=60)")
    until(lambda: waiting(spool))

    began = time.monotonic()
    process.terminate()
    done = ended(process, began)

    assert done.code == -signal.SIGTERM
    assert done.seconds < 4
    assert len(waiting(spool)) == 1


def test_an_interrupt_goes_through_a_waiting_submit(home: Path, service: FakeService, spool: Path) -> None:
    service.always["run"] = Fault(hang=True)
    process = started(home, service.url, BEGIN + "run.log_evaluation('s', {'nrmse': 0.1}, timeout=60)")
    until(lambda: waiting(spool))
    time.sleep(0.2)

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = ended(process, began)

    assert "KeyboardInterrupt" in done.err
    assert done.seconds < 10
    assert len(waiting(spool)) == 1


def test_a_forked_child_is_silent_and_the_parent_goes_on(
    home: Path, service: FakeService, spool: Path
) -> None:
    code = BEGIN + textwrap.dedent(
        """
        meter = run.evaluation("s")
        meter.update("nrmse", [0.1])
        child = os.fork()
        if child == 0:
            meter.update("nrmse", [0.2])
            run.config.lr = 3
            began = time.monotonic()
            gates = [meter.submit().gate, run.log_evaluation("s", {"nrmse": 9.0}).gate]
            run.finish()
            print("child", gates, time.monotonic() - began < 1, flush=True)
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        print("parent", status, meter.submit().gate, run.log_evaluation("s", {"nrmse": 0.3}).gate)
        """
    )

    done = script(home, service.url, code)

    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == ["child ['unknown', 'unknown'] True", "parent 0 open open"]
    values = sorted(value["value"] for body in service.evaluations.values() for value in body["values"])
    assert values == [0.1, 0.3]
    assert service.statuses == ["finished"]
    assert service.runs["unet-64"].get("config") == {}
    assert list(spool.iterdir()) == []


def test_a_forked_child_records_after_its_own_init(home: Path, service: FakeService) -> None:
    code = BEGIN + textwrap.dedent(
        """
        child = os.fork()
        if child == 0:
            own = truerun.init("burgers", run_key="child")
            print(own.log_evaluation("s", {"nrmse": 0.2}).gate, flush=True)
            sys.exit(0)
        os.waitpid(child, 0)
        """
    )

    done = script(home, service.url, code)

    assert (done.code, done.out) == (0, "open\n"), done.err
    assert set(service.runs) == {"unet-64", "child"}
    assert service.statuses == ["finished", "finished"]


def test_our_threads_import_nothing(home: Path, service: FakeService) -> None:
    # A child that is forked while one of them holds a module's import lock could never import that module.
    code = BEGIN + textwrap.dedent(
        """
        known = set(sys.modules)
        run.log({"loss": 1.0})
        print(run.log_evaluation("s", {"nrmse": 0.2}).gate)
        run.alert("half way")
        run.finish()
        print(sorted(set(sys.modules) - known))
        """
    )

    done = script(home, service.url, code)

    assert (done.code, done.out) == (0, "open\n[]\n"), done.err


def test_a_training_that_shows_its_log_does_not_see_our_requests_in_it(
    home: Path, service: FakeService
) -> None:
    code = """
    import logging, os
    logging.basicConfig(level=logging.DEBUG)
    import httpx, truerun
    run = truerun.init("burgers", run_key="unet-64")
    run.log({"loss": 1.0})
    run.finish()
    logging.warning("its own")
    httpx.get(os.environ["TRUERUN_URL"] + "/own")
    """

    done = script(home, service.url, code)

    own, *requests = done.err.splitlines()
    assert own == "WARNING:root:its own"
    assert any("/own" in line for line in requests)
    assert not any("/api/v1" in line for line in requests)
    assert service.statuses == ["finished"]


def test_a_fork_does_not_keep_the_parents_lock(home: Path, service: FakeService, spool: Path) -> None:
    service.always["evaluation"] = problem(503, "down")
    code = BEGIN + textwrap.dedent(
        """
        run.log_evaluation("s", {"nrmse": 0.2}, timeout=0)
        if os.fork() == 0:
            sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)
            time.sleep(20)
            os._exit(0)
        os.kill(os.getpid(), 9)
        """
    )
    script(home, service.url, code, KEY="killed")
    service.always.clear()

    script(home, service.url, BEGIN + LINGER.format(left=0), KEY="next")

    assert waiting(spool) == []


def test_a_spawned_worker_gets_a_silent_copy(home: Path, service: FakeService) -> None:
    program = home / "train.py"
    program.write_text(
        textwrap.dedent(
            """
            import multiprocessing
            import truerun

            def work(run):
                return run.is_muted, run.log_evaluation("s", {"nrmse": 9.0}).gate

            if __name__ == "__main__":
                run = truerun.init("burgers", run_key="unet-64")
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.apply(work, (run,)))
            """
        )
    )

    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment(home, service.url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "(True, 'unknown')\n"), done.stderr
    assert service.evaluations == {}


def test_nothing_is_written_to_the_working_directory(
    home: Path, service: FakeService, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()

    script(
        home,
        service.url,
        f"import os\nos.chdir({str(here)!r})\n" + BEGIN + "run.log_evaluation('s', {'nrmse': 1})",
    )

    assert list(here.iterdir()) == []


def test_a_meter_needs_no_numpy(home: Path, service: FakeService) -> None:
    code = BEGIN + textwrap.dedent(
        """
        class Tensor:
            def __init__(self, values): self.values = values
            def detach(self): return self
            def tolist(self): return self.values

        meter = run.evaluation("s", groups=["easy", "hard"])
        meter.update("nrmse", [1.0, 2.0], ["easy", "hard"])
        meter.update("nrmse", Tensor([3.0, 4.0]), Tensor([0, 0]))
        meter.update("rmse", Tensor([3.0, 4.0]))
        meter.update("nrmse", Tensor(0.5))
        meter.update("nrmse", Tensor([[0.5]]))
        print(meter.submit().gate, "numpy" in sys.modules)
        """
    )

    done = script(home, service.url, code)

    assert done.out == "open False\n", done.err
    (body,) = service.evaluations.values()
    values = {(value["metric"], value["group"]): (value["value"], value["n"]) for value in body["values"]}
    assert values["nrmse", "easy"] == (pytest.approx(8 / 3), 3)
    assert values["nrmse", "hard"] == (2.0, 1)
    assert values["rmse", "overall"] == (pytest.approx(12.5**0.5), 2)
    assert body["info"] == {"dropped_batches": {"nrmse": {"scalar_batch": 1, "not_scalar": 1}}}
