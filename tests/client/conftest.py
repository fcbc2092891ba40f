"""Things with a lifetime for the client's tests: a home of its own, a fake service."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.fake_service import FakeService, running
from truerun import session


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home directory, and an environment that says nothing of any service or job."""
    for name in ("URL", "TOKEN", "MODE", "PROJECT"):
        monkeypatch.delenv(f"TRUERUN_{name}", raising=False)
    for name in (
        "RANK",
        "SLURM_PROCID",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "SLURM_NTASKS",
        "TORCHELASTIC_RESTART_COUNT",
        "NO_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(session._process, "current", None)
    yield tmp_path
    for run in session._process.live:
        run.finish(timeout=0.0)
        # No thread of this test may still be sending in the next one.
        sender = run._outlet._sender  # type: ignore[attr-defined]
        sender.drained.set()
        sender.nudge()
    session._process.live = []
    for thread in threading.enumerate():
        if thread.name == "truerun-sender":
            thread.join(5)


@pytest.fixture
def spool(home: Path) -> Path:
    return home / "state" / "truerun" / "spool"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The luckiest draw of every back-off, so that a test need not wait for the unlucky ones."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with running(FakeService()) as fake:
        yield fake
