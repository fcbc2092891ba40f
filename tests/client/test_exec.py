from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.fake_service import PROJECT_TOKEN, FakeService, until


def started(service: FakeService | None, *arguments: str) -> subprocess.Popen[str]:
    given = ["--url", service.url, "--token", PROJECT_TOKEN] if service is not None else []
    return subprocess.Popen(
        [sys.executable, "-m", "truerun", *given, "--project", "burgers", "exec", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(service: FakeService | None, *arguments: str) -> tuple[int, str, str]:
    process = started(service, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def ends(service: FakeService) -> list[dict[str, object]]:
    return [end for stream in service.streams.values() for end in stream.others("finish")]


@pytest.mark.parametrize(("code", "status"), [(0, "finished"), (3, "failed")])
def test_a_command_is_a_run_and_its_exit_code_ours(service: FakeService, code: int, status: str) -> None:
    script = f"import sys; print('out'); print('err', file=sys.stderr); sys.exit({code})"

    ended = done(service, "--name", "wrapped", "--", sys.executable, "-c", script)

    assert ended[0] == code
    assert ended[1] == "out\n"
    assert "err\n" in ended[2]
    (end,) = ends(service)
    assert (end["status"], end["exit_code"]) == (status, code)
    assert next(iter(service.runs.values()))["name"] == "wrapped"


def test_a_command_goes_on_when_whoever_reads_its_output_has_gone(service: FakeService) -> None:
    # More than a pipe holds.
    script = "import sys\nfor _ in range(4000): print('x' * 100, flush=True)\nsys.exit(3)"
    with started(service, "--tail", "1", "--", sys.executable, "-c", script) as process:
        assert process.stdout is not None
        process.stdout.close()
        try:
            code = process.wait(60)
        finally:
            process.kill()

    assert code == 3
    (end,) = ends(service)
    assert (end["status"], end["exit_code"]) == ("failed", 3)


def test_a_command_that_is_killed_failed_and_says_by_what(service: FakeService) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

    code, *_ = done(service, "--", sys.executable, "-c", script)

    assert code == 128 + signal.SIGKILL
    (end,) = ends(service)
    assert (end["status"], end["error"]) == ("failed", "ended by SIGKILL")


def test_a_termination_reaches_the_command_and_is_a_preemption(service: FakeService, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    process = started(service, "--", sys.executable, "-c", script)
    until(ready.exists)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert process.returncode == 128 + signal.SIGTERM
    assert ends(service)[0]["status"] == "preempted"


def test_output_is_kept_only_when_asked_and_without_secrets(service: FakeService) -> None:
    script = "print('one'); print('two api_key=abcdef'); print('three'); raise SystemExit(1)"

    code, out, _ = done(service, "--tail", "2", "--", sys.executable, "-c", script)

    assert (code, out) == (1, "one\ntwo api_key=abcdef\nthree\n")
    assert ends(service)[0]["error"] == "ended with exit code 1\n\ntwo api_key=[removed]\nthree"


def test_a_script_that_calls_init_goes_on_in_the_same_run(service: FakeService) -> None:
    script = "import truerun; run = truerun.init('burgers'); run.log({'loss': 1.0}); run.finish()"

    code, *_ = done(service, "--run-key", "outer", "--", sys.executable, "-c", script)

    assert code == 0
    assert set(service.runs) == {"outer"}
    attempts = {
        request.body["attempt_id"] for request in service.requests if request.path.endswith("/records")
    }
    assert len(attempts) == 1
    assert [stream.values("loss") for stream in service.streams.values() if stream.values("loss")] == [
        [(0, 1.0)]
    ]


def test_without_a_service_the_command_runs_all_the_same(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUERUN_URL", raising=False)

    code, out, _ = done(None, "--", sys.executable, "-c", "print('hello')")

    assert (code, out) == (0, "hello\n")
    assert list(spool.glob("*/streams/*/*.seg"))


def test_what_cannot_be_run_says_so(service: FakeService) -> None:
    assert done(service, "--", "no-such-command")[0] == 127
    assert done(service)[0] == 64
