"""The previous release's code, run beside today's on the same database, and people who post to either."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

# Release 0.1.0. When a release is made this moves to it, and only here.
PREVIOUS_RELEASE = "320f5154b20522959a885878d5af7ba28c8d434f"
# The newest migration that it knows.
PREVIOUS_SCHEMA = "0001"
PATIENCE_SECONDS = 120
CLONE = Path(__file__).parents[2]


def unpack_previous_release(target: Path) -> None:
    """Lay the previous release's code into a directory, from the history of the clone."""
    archive = subprocess.run(
        ["git", "-C", str(CLONE), "archive", PREVIOUS_RELEASE, "app", "migrations"],
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        pytest.fail(
            f"the previous release's code, commit {PREVIOUS_RELEASE[:7]}, is not in this clone "
            f"({archive.stderr.decode().strip()}); fetch it: git fetch --unshallow, or "
            f"git fetch origin {PREVIOUS_RELEASE}",
            pytrace=False,
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(target, filter="data")


def run_previous(code: Path, database_url: str, *arguments: str) -> None:
    """A command of the previous release, to its end."""
    subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments], cwd=code, env=_environ(database_url), check=True
    )


@contextmanager
def serving(code: Path, database_url: str, *, log: Path) -> Iterator[str]:
    """The API of the code in that directory; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = _environ(database_url) | {"TRUERUN_PORT": str(port), "TRUERUN_LOG_FORMAT": "json"}
    with log.open("wb") as out:
        # Without -P, so that the code is that of the directory it starts in.
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"], cwd=code, env=environ, stdout=out, stderr=out
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(url) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
    assert "Traceback" not in log.read_text(), log.read_text()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


def _environ(database_url: str) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRUERUN_") and name != "PYTHONPATH"
    }
    return {**inherited, "DATABASE_URL": database_url, "PYTHONDONTWRITEBYTECODE": "1"}


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Posted:
    run_id: str
    evaluation: str
    body: dict[str, Any]


@dataclass
class Poster:
    """Somebody who opens runs, posts, reads and promotes, and writes down outside what was acknowledged.

    Args:
        urls: Where to send, each worker to one of them. May be replaced at any time.
    """

    token: str
    urls: list[str]
    ledger: list[Posted] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    promoted: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def ask(self, method: str, path: str, document: Any = None, *, also: tuple[int, ...] = ()) -> Any:
        """The answer; anything but a success (or one of `also`) is written down as wrong."""
        me = threading.current_thread()
        urls = self.urls
        url = urls[self._threads.index(me) % len(urls)] if me in self._threads else urls[0]
        try:
            response = httpx.request(
                method,
                f"{url}/api/v1{path}",
                json=document,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=PATIENCE_SECONDS,
                trust_env=False,
            )
        except httpx.TransportError as error:
            self.wrong.append(f"{method} {path}: {error!r}")
            return None
        if not response.is_success and response.status_code not in also:
            self.wrong.append(f"{method} {path}: {response.status_code} {response.text}")
            return None
        return response.json() if response.is_success else None

    def post(self, run_id: str, groups: dict[str, float | str], **more: Any) -> Any:
        body = {
            "suite": "val",
            "metrics": {"mse": "lower"},
            "values": [
                {"metric": "mse", "group": group, "value": value, "n": 100} for group, value in groups.items()
            ],
            **more,
        }
        evaluation = str(uuid4())
        verdict = self.ask("PUT", f"/runs/{run_id}/evaluations/{evaluation}", body)
        if verdict is not None:
            self.ledger.append(Posted(run_id=run_id, evaluation=evaluation, body=body))
        return verdict

    def open_run(self, key: str, **more: Any) -> str:
        opened = self.ask("PUT", f"/projects/p/runs/{key}", {"attempt_id": str(uuid4()), **more})
        return str(opened["run_id"]) if opened else ""

    def crown(self, kind: str, evaluation: str | None, *, stage: str = "final", **more: Any) -> Any:
        seat = self.ask("GET", f"/projects/p/suites/val/baseline?stage={stage}")
        if seat is None:
            return None
        body = {
            "kind": kind,
            "stage": stage,
            "evaluation": evaluation,
            "expected_version": seat["version"],
            **more,
        }
        # Somebody else may be quicker, or the champion of the moment better.
        return self.ask("POST", "/projects/p/suites/val/baseline/events", body, also=(409,))

    def work(self, name: str) -> None:
        """Until stopped: a run, an evaluation a little better or worse, a look at it, and a try at the crown."""
        number = 0
        # Who may talk to different releases at the same time has different champions: the code of before cannot read a
        # verdict that holds a rule of after.
        stage = "final" if self._threads.index(threading.current_thread()) % 2 == 0 else "other"
        while not self._stop.is_set():
            number += 1
            # Some say nothing of their configuration, some are seeds of one recipe.
            says: dict[str, Any] = {"config": {"lr": number % 3, "seed": number}} if number % 2 else {}
            run_id = self.open_run(f"{name}-{number}", **says)
            # Each better than the last, and every fifth a regression in one group.
            good = 0.09 * 0.95**number
            verdict = self.post(run_id, {"a": good, "b": good * (1 if number % 5 else 9)}, stage=stage)
            if verdict is None:
                return
            self.ask("GET", f"/evaluations/{verdict['evaluation']}")
            self.ask("GET", f"/projects/p/suites/val/leaderboard?metric=mse&stage={stage}")
            kind = "bootstrap" if verdict["baseline"] is None else "promote"
            if self.crown(kind, verdict["evaluation"], stage=stage) is not None:
                self.promoted += 1

    @contextmanager
    def at_work(self, workers: int = 4) -> Iterator[None]:
        self._threads = [threading.Thread(target=self.work, args=(f"worker{i}",)) for i in range(workers)]
        for each in self._threads:
            each.start()
        try:
            yield
        finally:
            self.finish()

    def finish(self) -> None:
        """Let everybody end what he has in hand and go."""
        self._stop.set()
        for each in self._threads:
            each.join(PATIENCE_SECONDS)

    def until_posted(self, more: int) -> None:
        """Wait until so many posts more are acknowledged."""
        wanted = len(self.ledger) + more
        wait_until(lambda: len(self.ledger) >= wanted or bool(self.wrong))
        assert not self.wrong, self.wrong


ADMIN_TOKEN = """
import sys
from datetime import UTC, datetime
from uuid import uuid4
from app.db import make_engine, session_factory
from app.services.tokens import ensure_local_admin

with session_factory(make_engine(sys.argv[1])).begin() as session:
    print(ensure_local_admin(session, now=datetime.now(UTC), new_id=uuid4))
"""


def admin_token(code: Path, database_url: str) -> str:
    """A token that the code in that directory makes."""
    command = [sys.executable, "-c", ADMIN_TOKEN, database_url]
    made = subprocess.run(
        command, cwd=code, env=_environ(database_url), capture_output=True, text=True, check=True
    )
    return made.stdout.strip()
