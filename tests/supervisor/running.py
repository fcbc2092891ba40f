"""A service started as people start it, for tests that need the whole of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

from tests.embedded.processes import postmaster

PATIENCE_SECONDS = 60


class Up:
    """A running `truerun-server up` with its own data and its own configuration directory."""

    def __init__(self, data_dir: Path, config_home: Path, **environ: str) -> None:
        self.data_dir = data_dir
        # Not a pipe: nobody empties it while the test does other things, and who writes to a full one stands still.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop
        self.local_file = config_home / "truerun" / "local.json"
        # Not the key to W&B of whoever runs the tests either.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("TRUERUN_", "WANDB_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", "up"],
            env={
                **inherited,
                "DATABASE_URL": "",
                "TRUERUN_DATA_DIR": str(data_dir),
                "TRUERUN_PORT": str(a_free_port()),
                "XDG_CONFIG_HOME": str(config_home),
                **environ,
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # Like a job of an interactive shell, which Ctrl-C reaches as a group.
            process_group=0,
        )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode()

    def ready(self) -> Self:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "Ctrl-C" not in self.output:
            assert self.process.poll() is None, f"it ended: {self.output}"
            assert time.monotonic() < deadline, f"it is not ready: {self.output}"
            time.sleep(0.02)
        return self

    @property
    def url(self) -> str:
        return str(json.loads(self.local_file.read_text())["url"])

    @property
    def token(self) -> str:
        return str(json.loads(self.local_file.read_text())["tokens"]["admin"])

    def child(self, command: str) -> psutil.Process:
        return next(each for each in psutil.Process(self.process.pid).children() if command in each.cmdline())

    def everything(self) -> list[psutil.Process]:
        first = postmaster(self.data_dir)
        return psutil.Process(self.process.pid).children() + ([first] if first else [])

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        """Its exit status, when it has one; everything that it said is in `output` then."""
        return self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)
        self._log.close()


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
