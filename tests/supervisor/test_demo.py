"""A command beside the service: it finds its way, its failure is told, and it may take its leave."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import demo
from app.supervisor import RunningService, ServiceFailed

PATIENCE_SECONDS = 30


def a_service() -> RunningService:
    return RunningService(
        url="http://127.0.0.1:8750",
        admin_token="trn_secret",
        database_url="",
        local_file=Path("local.json"),
        children=(),
        postgres=None,
    )


def test_a_command_finds_the_service_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUERUN_MODE", "off")
    found = tmp_path / "found.json"
    script = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"

    demo.show(a_service(), [sys.executable, "-c", script, str(found)])

    environ = json.loads(found.read_text())
    assert environ["TRUERUN_URL"] == "http://127.0.0.1:8750"
    assert environ["TRUERUN_TOKEN"] == "trn_secret"
    assert environ["TRUERUN_MODE"] == "online"


def test_a_command_that_fails_is_told_with_its_exit_code() -> None:
    with pytest.raises(ServiceFailed, match=r"exit code 7\); its message is above"):
        demo.show(a_service(), [sys.executable, "-c", "raise SystemExit(7)"])


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(ServiceFailed, match=r"/nowhere/python cannot be started: No such file"):
        demo.show(a_service(), ["/nowhere/python", "train.py"])


CHILD = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1])
try:
    (place / "begun").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    (place / "farewell").touch()
"""
PARENT = """
import sys
from app import demo
from tests.supervisor.test_demo import CHILD, a_service
try:
    demo.show(a_service(), [sys.executable, "-c", CHILD, sys.argv[1]])
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interruption_lets_the_command_end_in_its_own_way(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, process_group=0
    )
    with parent:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (tmp_path / "begun").exists():
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

        parent.send_signal(signal.SIGINT)
        said, _ = parent.communicate(timeout=PATIENCE_SECONDS)

    assert said == "interrupted\n"
    assert (tmp_path / "farewell").exists()
