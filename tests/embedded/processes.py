"""What the tests look at from outside: the server's process, and other programs that use the same directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil

USER_OF_A_SERVER = """
import sys
from pathlib import Path
from app.embedded import embedded_postgres

with embedded_postgres(Path(sys.argv[1]), settings={"fsync": "off"}, durable=False) as server:
    print(server.url(), flush=True)
    sys.stdin.read()
"""


def postmaster(data_dir: Path) -> psutil.Process | None:
    """The server's first process, if it lives."""
    try:
        pid = int((data_dir / "cluster" / "data" / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(pid)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return None if process.status() == psutil.STATUS_ZOMBIE else process


class AnotherUser:
    """Another program that uses the server until it is told to leave."""

    def __init__(self, data_dir: Path, *, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER_OF_A_SERVER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def url(self) -> str:
        """Waits until the server answers."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
