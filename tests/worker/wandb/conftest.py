from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.worker.wandb_jobs.runner import Runner
from tests.worker.wandb.jobs import a_runner
from tests.worker.wandb.standin import Standin


@pytest.fixture
def standin() -> Iterator[Standin]:
    server = Standin()
    yield server
    server.stop()
    # By name, so that a newer wandb says which reply it wants.
    assert server.unknown == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def runner(place: Path, standin: Standin) -> Runner:
    return a_runner(place, standin)
