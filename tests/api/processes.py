"""`truerun-server serve` as a process, on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from app.db import make_engine, session_factory
from app.services.tokens import ensure_local_admin

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60


@dataclass
class Served:
    """A process that serves, and how to talk to it.

    Args:
        log: Where its standard error goes.
    """

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=PATIENCE_SECONDS)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def stop(self) -> tuple[int, float]:
        """Its exit status after SIGTERM, and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS), time.monotonic() - began

    def wait_until_alive(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=PATIENCE_SECONDS).raise_for_status()
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)


@contextmanager
def served(database_url: str, **settings: Any) -> Iterator[Served]:
    """The service over that database.

    Args:
        settings: By their names without TRUERUN_, in small letters.
    """
    engine = make_engine(database_url)
    with session_factory(engine).begin() as session:
        token = ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4)
    engine.dispose()
    given = {"durability": "waived", **settings}
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRUERUN_")},
        **{f"TRUERUN_{name.upper()}": str(value) for name, value in given.items()},
        "DATABASE_URL": database_url,
    }
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.NamedTemporaryFile(prefix="truerun-log-") as log,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", "serve", f"--socket={listener.fileno()}"],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
        running = Served(process, listener.getsockname()[1], token, Path(log.name))
        # Only the process holds the port: when it stops listening, connections are refused.
        listener.close()
        try:
            running.wait_until_alive()
            yield running
        finally:
            process.kill()
            process.wait()
