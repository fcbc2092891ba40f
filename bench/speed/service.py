"""The real service, started as people start it, in a directory of its own and with a durable Postgres."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.speed.guardian import ended_with_us

PATIENCE_SECONDS = 120


class BenchmarkFailed(RuntimeError):
    """A request was not answered as it must be, so its time means nothing."""


@dataclass
class Running:
    """A service, and one connection to it that is kept open.

    Args:
        seconds_to_ready: From its start until it said that it serves, which it does when /readyz is 200.
    """

    process: subprocess.Popen[bytes]
    url: str
    token: str = field(repr=False)
    seconds_to_ready: float
    _connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, document: Any = None, *, expect: tuple[int, ...] = (200, 201)
    ) -> Any:
        """The answer's document.

        Raises:
            BenchmarkFailed: Another status.
        """
        body = None if document is None else json.dumps(document).encode()
        return self.ask_raw(method, path, body, expect=expect)

    def ask_raw(
        self, method: str, path: str, body: bytes | None = None, *, expect: tuple[int, ...] = (200, 201)
    ) -> Any:
        if self._connection is None:
            parts = urlsplit(self.url)
            self._connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS
            )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self._connection.request(method, path, body=body, headers=headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status not in expect:
            raise BenchmarkFailed(f"{method} {path}: {answer.status} {content[:300]!r}")
        return json.loads(content) if content else None

    def close(self) -> None:
        """Close the connection; the next request opens another. After a pause the service has closed its end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def api_memory_bytes(self) -> int:
        """Resident memory of the process that serves the API."""
        for child in psutil.Process(self.process.pid).children():
            if "serve" in child.cmdline():
                return int(child.memory_info().rss)
        raise BenchmarkFailed("the API's process is not there")


@contextmanager
def running(place: Path) -> Iterator[Running]:
    """`truerun-server up` on `place`, until the end of the block."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")},
        "DATABASE_URL": "",
        "TRUERUN_DATA_DIR": str(place / "data"),
        "TRUERUN_PORT": "0",
        "TRUERUN_LOG_LEVEL": "warning",
        "TRUERUN_RATE_LIMIT_PER_SECOND": "0",
        "XDG_CONFIG_HOME": str(place / "config"),
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app.cli", "up"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process, ended_with_us(process):
        said = _read_until_ready(process)
        seconds = time.perf_counter() - began
        local = json.loads((place / "config" / "truerun" / "local.json").read_text())
        if local["url"] not in said:
            raise BenchmarkFailed(f"the service said {said!r}")
        service = Running(process, local["url"], local["tokens"]["admin"], seconds)
        with contextlib.closing(service):
            yield service


def _read_until_ready(process: subprocess.Popen[bytes]) -> str:
    said, deadline = "", time.monotonic() + PATIENCE_SECONDS
    while "Ctrl-C" not in said and process.stdout is not None and time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"the service did not start: {said}")
        said += line.decode()
    return said
